"""`pellucid demo`: from two trained models to a report, on data that ships with scikit-learn."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.errors import PellucidError, UnwritableError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from pellucid.datasets import Dataset
    from pellucid.interpret import Result, Run

_NEEDED = 0.95  # held-out accuracy below which there is nothing to explain


@dataclass
class _Trained:
    model: torch.nn.Module
    train: Dataset
    test: Dataset
    logits: np.ndarray  # on the held-out samples
    run: Run

    @property
    def predicted(self) -> np.ndarray:
        chosen: np.ndarray = self.logits.argmax(1)
        return chosen

    @property
    def wrong(self) -> np.ndarray:
        """Positions of the held-out samples that it gets wrong, most confident first."""
        mistaken = (self.predicted != self.test.targets).nonzero()[0]
        margin = self.logits.max(1) - self.logits[range(len(self.logits)), self.test.targets]
        ordered: np.ndarray = mistaken[(-margin[mistaken]).argsort(kind="stable")]
        return ordered

    @property
    def accuracy(self) -> float:
        return float((self.predicted == self.test.targets).mean())


class _Narrator:
    """Says what is going on, and how long it has taken."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._start = say, time.perf_counter()

    def __call__(self, sentence: str) -> None:
        self._say(f"[{time.perf_counter() - self._start:5.1f} s] {sentence}")


def demo(
    folder: str | Path = "pellucid-demo",
    *,
    theme: str = "light",
    say: Callable[[str], None] = print,
) -> Path:
    """Train two small models, explain what they do, and write a report about it.

    Parameters
    ----------
    folder
        Where ``report.html`` and the saved results go; it is made if need be.
    theme
        ``"light"`` or ``"dark"``.
    say
        Called with each line of progress.

    Returns
    -------
    pathlib.Path
        The report.

    Raises
    ------
    UnwritableError
        If the folder cannot be made.
    """
    tell = _Narrator(say)
    folder = Path(folder).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnwritableError(f"cannot make the folder {folder}: {error.strerror}") from error
    tell("loading torch (some seconds when it is new to the machine)")
    import torch

    import pellucid as pl

    # Training must not disturb the caller's random state, nor depend on it.
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # On models as small as these, threads wait for each other more than they help.
        torch.set_num_threads(1)
        try:
            digits = _train_digits(tell)
            cancer = _train_breast_cancer(tell)
        finally:
            torch.set_num_threads(threads)

    results: dict[str, Result] = {}
    saved: list[Path] = []

    def keep(name: str, result: Result) -> Any:
        results[name] = result
        saved.append(result.save(folder / f"{name}.safetensors"))
        return result

    tell("explaining digits by integrated gradients, each to within 1 %")
    wrong = int(digits.wrong[0])
    right = _one_of_each(digits, classes=3)
    shown = digits.test.subset([*right, wrong])
    why = keep(
        "digits-explained",
        pl.explain(
            digits.model,
            shown.inputs,
            class_names=shown.class_names,
            sample_ids=shown.sample_ids,
        ),
    )
    truth, taken = int(digits.test.targets[wrong]), int(digits.predicted[wrong])
    doubt = keep(
        "wrong-digit-explained",
        pl.explain(
            digits.model,
            digits.test.inputs[[wrong, wrong]],
            target=[taken, truth],
            class_names=digits.test.class_names,
            sample_ids=digits.test.sample_ids[[wrong, wrong]],
        ),
    )
    tell("explaining a diagnosis, and ranking the features behind all of them")
    case = int(cancer.wrong[0]) if len(cancer.wrong) else 0
    diagnosis = keep("diagnosis-explained", _explain_case(cancer, case))
    ranking = keep(
        "features-ranked",
        pl.importance(
            cancer.model,
            cancer.test.inputs,
            cancer.test.targets,
            metric="log_loss",
            repeats=20,
            feature_names=cancer.test.feature_names,
        ),
    )
    tell("projecting the CNN's penultimate layer with UMAP")
    everyone = digits.test
    layer = keep(
        "digits-projected",
        pl.project(
            digits.model,
            everyone.inputs,
            at="penultimate",
            method="umap",
            labels=everyone.targets,
            class_names=everyone.class_names,
            sample_ids=everyone.sample_ids,
            display=everyone.inputs,
        ),
    )
    keep("digits-weights", pl.snapshot(digits.model))
    keep("digits-training", digits.run)
    tell("drawing the report")
    lowest = int(layer.preservation.argmin())
    best = ranking.order()[:2]
    findings = [
        f"The CNN is right on {digits.accuracy:.1%} of {len(digits.test)} held-out digits, the MLP "
        f"on {cancer.accuracy:.1%} of {len(cancer.test)} held-out breast masses.",
        f"Digit {digits.test.sample_ids[wrong]} is a {truth} that the CNN takes for a {taken}: "
        f"logit {doubt.prediction[0]:.2f} against {doubt.prediction[1]:.2f}.",
        f"Each attribution is estimated to be within {why.error.max():.1%} of the exact integral, "
        f"at {why.cost.backward / len(why):.0f} gradients a digit; the worst completeness residual "
        f"is {abs(why.residual).max():.2g} logits.",
        f"The MLP leans most on {ranking.feature_names[best[0]]}: shuffling it costs "
        f"{ranking.values[best[0]]:.3f} ± {ranking.standard_error[best[0]]:.3f} of log loss "
        f"({ranking.reference:.3f} before); then on {ranking.feature_names[best[1]]}.",
        f"The map keeps {layer.preservation.mean():.0%} of each digit's {layer.neighbors} nearest "
        f"neighbours; the fewest of sample {layer.sample_ids[lowest]}: "
        f"{layer.preservation[lowest]:.0%}.",
    ]
    report = pl.report(
        {
            "What was found": findings,
            "Why these digits?": [
                "Three that the CNN gets right, and one that it gets wrong. Red pixels speak for "
                "the class that it predicts, blue ones against it; white ones say nothing.",
                why,
            ],
            f"The wrong one: a {truth} taken for a {taken}": [
                f"The same digit, asked twice: what speaks for {taken}, and what speaks for the "
                f"{truth} that it is?",
                doubt,
            ],
            "Why this diagnosis?": [
                _case_sentence(cancer, case),
                diagnosis,
            ],
            "Which features does the model need?": ranking,
            "How does the CNN see the digits?": [
                "Each point is a held-out digit; point at it to see it. Neighbourhoods mean "
                "something on such a map, distances between groups do not.",
                layer,
            ],
            "What did the CNN learn?": results["digits-weights"],
            "How did it learn?": results["digits-training"],
        },
        folder / "report.html",
        title="Pellucid demo: two models, explained",
        theme=theme,
    )
    tell("done")
    say("")
    for finding in findings:
        say(f"  - {finding}")
    say("")
    say(f"  {len(saved)} results are saved in {folder}; read one with pl.load(path).")
    say(f"  Open {report.resolve().as_uri()} in a browser.")
    return report


def _train_digits(tell: _Narrator) -> _Trained:
    from collections import OrderedDict

    from torch import nn

    from pellucid import datasets

    train, test = datasets.load_digits().split(test=0.25, seed=0)
    tell(f"training a CNN on {len(train)} digits")
    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 16, 3, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(16, 32, 3, padding=1),
            relu2=nn.ReLU(),
            pool=nn.MaxPool2d(2),
            flat=nn.Flatten(),
            hidden=nn.Linear(32 * 16, 64),
            penultimate=nn.ReLU(),
            head=nn.Linear(64, 10),
        )
    )
    return _train(model, train, test, "CNN on digits", epochs=20, tell=tell)


def _train_breast_cancer(tell: _Narrator) -> _Trained:
    from torch import nn

    from pellucid import datasets

    train, test = datasets.load_breast_cancer().split(test=0.25, seed=0)
    train, test = train.standardized(), test.standardized(like=train)
    tell(f"training an MLP on {len(train)} breast masses")
    model = nn.Sequential(
        nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1)
    )
    return _train(model, train, test, "MLP on breast masses", epochs=30, tell=tell)


def _train(
    model: torch.nn.Module,
    train: Dataset,
    test: Dataset,
    name: str,
    *,
    epochs: int,
    tell: _Narrator,
) -> _Trained:
    import numpy as np
    import torch
    from torch.nn.functional import cross_entropy

    from pellucid.interpret import Run

    x, y = train.torch()
    held_x, held_y = test.torch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    curves: dict[str, list[float]] = {
        "train loss": [],
        "held-out loss": [],
        "held-out accuracy": [],
    }
    for _ in range(epochs):
        model.train()
        losses = []
        for batch in torch.split(torch.randperm(len(x)), 64):
            optimizer.zero_grad()
            loss = cross_entropy(_two_sided(model(x[batch])), y[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.detach() * len(batch))
        schedule.step()
        model.eval()
        with torch.no_grad():
            logits = _two_sided(model(held_x))
        curves["train loss"].append(float(torch.stack(losses).sum()) / len(x))
        curves["held-out loss"].append(float(cross_entropy(logits, held_y)))
        curves["held-out accuracy"].append(float((logits.argmax(1) == held_y).float().mean()))
    steps = np.arange(1, epochs + 1)
    trained = _Trained(
        model,
        train,
        test,
        logits.numpy(),
        Run(
            metrics={key: (steps, np.array(values)) for key, values in curves.items()},
            name=name,
            step_unit="epoch",
        ),
    )
    tell(f"  {trained.accuracy:.1%} of {len(test)} held-out samples right")
    if trained.accuracy < _NEEDED or not len(trained.wrong):
        raise PellucidError(
            f"the {name} reached {trained.accuracy:.1%}; the demo needs a model past {_NEEDED:.0%} "
            "with a mistake to explain. Please report this with your versions of torch and NumPy"
        )
    return trained


def _two_sided(logits: torch.Tensor) -> torch.Tensor:
    """Return one logit of two classes as a logit for each: their softmax is its sigmoid."""
    import torch

    return logits if logits.shape[1] > 1 else torch.cat([torch.zeros_like(logits), logits], 1)


def _one_of_each(trained: _Trained, *, classes: int) -> list[int]:
    """Return the most confident right prediction of each of the first classes."""
    confident = (-trained.logits.max(1)).argsort(kind="stable").tolist()
    right = [i for i in confident if trained.predicted[i] == trained.test.targets[i]]
    return [next(i for i in right if trained.predicted[i] == k) for k in range(classes)]


def _explain_case(trained: _Trained, case: int) -> Any:
    import pellucid as pl

    one = trained.test.subset([case])
    return pl.explain(
        trained.model,
        one.inputs,
        background=trained.train.inputs,
        feature_names=one.feature_names,
        class_names=one.class_names,
        sample_ids=one.sample_ids,
        display=one.original_inputs(),
    )


def _case_sentence(trained: _Trained, case: int) -> str:
    names = trained.test.class_names
    assert names is not None
    said, true = names[trained.predicted[case]], names[trained.test.targets[case]]
    verdict = "rightly" if said == true else "wrongly"
    return (
        f"Mass {trained.test.sample_ids[case]} is {true}; the MLP calls it {said}, {verdict}. The "
        "bars lead from the mean of the training data to this case, in log-odds."
    )
