"""The work behind `explain` and `compare`: some methods, on one model and the same rows."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pellucid.errors import InputError, Interrupted, OutOfMemoryError, PellucidError
from pellucid.interpret.assembly import Part, assemble, joined
from pellucid.interpret.attribution import registry
from pellucid.interpret.attribution.registry import Attribution, Method
from pellucid.interpret.backgrounds import read_background
from pellucid.interpret.baselines import check_word, make_baseline
from pellucid.interpret.block import Block
from pellucid.interpret.doubts import correlated, warn_of_doubts, warn_of_far_baseline
from pellucid.interpret.engine import Engine
from pellucid.interpret.inputs import Inputs, is_whole
from pellucid.interpret.labels import Labels
from pellucid.interpret.language import Language
from pellucid.interpret.memory import is_out_of_memory
from pellucid.interpret.models import Model
from pellucid.interpret.places import Place, last_map, named_places
from pellucid.interpret.predictors import adapted_tables
from pellucid.interpret.replicas import replicas
from pellucid.interpret.results import Cost, Explanation, Provenance
from pellucid.interpret.targets import Score, Scoring


@dataclass(frozen=True)
class Wanted:
    """One method with its options.

    Attributes
    ----------
    method, inner
        The method, and the one inside if it wraps another; otherwise the same.
    options
        Its options.
    why
        How it came to be chosen, for the result.
    """

    method: Method
    inner: Method
    options: dict[str, Any]
    why: str

    @classmethod
    def of(cls, name: str, options: dict[str, Any], why: str) -> Wanted:
        """Find a method by its name and check its options."""
        method = registry.find(name, options)
        registry.check_options(method, options)
        # What is compared with what is the business of the method inside, if one wraps another.
        inner = registry.find(options.get("of", "saliency")) if method.wraps else method
        return cls(method, inner, options, why)


@dataclass(frozen=True)
class Request:
    """What all methods share; the arguments of `explain`."""

    target: Any
    at: Any
    attribute: Any
    baseline: Any
    background: Any
    output: str
    groups: Any
    feature_names: Any
    class_names: Any
    sample_ids: Any
    display: Any
    device: Any
    batch_size: Any
    precision: str | None
    compile: bool | str
    seed: int
    progress: bool | None
    tokenizer: Any


def attributed(
    model: Any, inputs: Any, wanted: Sequence[Wanted], request: Request
) -> list[Explanation]:
    """Explain the same rows by some methods, which share passes.

    Returns
    -------
    list of Explanation
        One for each method.

    Raises
    ------
    InputError, InputTypeError, ModelError, Interrupted
        As `explain`; the partial result of an interruption is that of the first method.
    """
    started = time.perf_counter()
    if not is_whole(request.seed) or not 0 <= request.seed < 2**63:
        raise InputError(f"seed={request.seed!r}; give a whole number from 0")
    _check_comparison([one.inner for one in wanted], request.baseline, request.background)
    tables = adapted_tables(
        model, inputs, [one.inner for one in wanted], request.background, request.baseline
    )
    if tables is not None:
        model, inputs = tables.predict, tables.inputs
        request = tables.understood(request)
    of_samples = [one.inner.samples and request.background is not None for one in wanted]
    of_baseline = [
        one.inner.baseline and not of for one, of in zip(wanted, of_samples, strict=True)
    ]
    compared = any(of_baseline)
    adapted = Model(model)
    asked = named_places(request.at, adapted)
    language = Language(adapted, request.tokenizer, request.target)
    batch = language.read(inputs, request.attribute)

    with contextlib.ExitStack() as held:
        engines = [
            held.enter_context(
                Engine(
                    replica,
                    batch,
                    device=device,
                    batch_size=request.batch_size,
                    seed=int(request.seed),
                    progress=request.progress if first else False,
                    precision=request.precision,
                    compile=request.compile,
                )
            )
            for first, replica, device in replicas(adapted, request.device)
        ]
        engine = engines[0]
        settled = _settled([one.method for one in wanted], asked, engine)
        names = list(dict.fromkeys(name for named in settled for name in named))
        neuron = language.neuron
        tapped = [name for name in names if name != "input"]
        tapped += [] if neuron is None else [neuron[0]]
        example, rows = language.probe(engine, tapped)
        for other in engines[1:]:
            other.take(engine.inputs)
            other.probe(tapped)
        for each in engines:
            each.locate(names, request.attribute)
        batch = engine.inputs
        places = [[p for p in engine.places if p.name in named] for named in settled]
        labels = Labels(
            batch,
            names,
            request.feature_names,
            request.sample_ids,
            request.display,
            request.groups,
            None if tables is None else tables.table,
        )
        players = None if all(one.inner.gradients for one in wanted) else labels.players()
        for each in engines:
            each.groups = players
        baselines, sentence = (
            make_baseline(
                request.baseline, batch, request.background, language.vocabularies(engine)
            )
            if compared
            else ({}, None)
        )
        if any(of_samples) or any(one.inner.background for one in wanted):
            for each in engines:
                each.background = read_background(request.background, batch, each.device)
        if compared and isinstance(request.baseline, str):
            warn_of_far_baseline(batch, baselines, sentence)
        score: Scoring = language.score(
            engine, example, rows, request.output, request.class_names
        ) or Score(
            target=request.target,
            output=request.output,
            class_names=request.class_names,
            example=example if neuron is None else engine.example(neuron[0]),
            rows=rows,
            samples=batch.samples,
            squashed=adapted.ends_in_sigmoid,
        )
        del example
        for one in wanted:
            if score.per_target and not one.method.several_targets:
                raise InputError(f"{one.method.name} explains one target at a time; give one class")
        work = _Work(wanted, places, score, baselines)
        parts, interrupted = work.share(engines)
    if interrupted and not parts:
        raise Interrupted("interrupted before any row was finished")
    explanations = []
    for i, (one, at) in enumerate(zip(wanted, places, strict=True)):
        mine = [part[i] for part in parts]
        settings: dict[str, Any] = {
            "baseline": sentence if of_baseline[i] else None,
            "output": request.output,
            "target": _spoken(request.target),
            "method": one.why,
            "promise": one.method.promise,
            "carried": _carried(batch),
            **_computed(request, engines),
            **language.settings,
        }
        if score.part is not None:
            settings["scored"] = score.part
        if of_samples[i]:
            settings["together"] = correlated(
                engine.background, labels.features, labels.categories or ()
            )
        if settled[i] != asked:
            settings["at"] = "auto: the last layer with rows and columns"
        cost = _cost(engines, mine, time.perf_counter() - started, alone=len(wanted) == 1)
        provenance = Provenance(
            model=adapted.name, device=_device_names(engines), seed=int(request.seed)
        )
        starts = baselines if of_baseline[i] else {}
        explanations.append(
            assemble(
                one.method, at, mine, engine, starts, score, labels, settings, provenance, cost,
                language,
            )
        )  # fmt: skip
    if interrupted:
        raise Interrupted(
            f"interrupted after {len(explanations[0])} of {batch.samples} rows; they are in this "
            "exception's `partial` (in a notebook: sys.last_value.partial)",
            explanations[0],
        )
    for i, (one, found) in enumerate(zip(wanted, explanations, strict=True)):
        for place in places[i]:
            part = found.select(place.name) if len(places[i]) > 1 else found
            scale = joined([p[i] for p in parts], place.name, "scale", score)
            warn_of_doubts(part, one.method, scale)
    return explanations


class _Work:
    """Methods at their places, on the rows of one engine or of several."""

    def __init__(
        self,
        wanted: Sequence[Wanted],
        places: Sequence[Sequence[Place]],
        score: Scoring,
        baselines: Mapping[str, Tensor | None],
    ) -> None:
        self._wanted, self._places = wanted, places
        self._score, self._baselines = score, baselines

    def share(self, engines: Sequence[Engine]) -> tuple[list[list[Part]], bool]:
        """Do the work, rows split among the engines; return the parts, and whether it was cut."""
        samples = engines[0].inputs.samples
        points = [one.method.points(one.options) for one in self._wanted]
        known = [count for count in points if count is not None]
        cuts = [samples * i // len(engines) for i in range(len(engines) + 1)]
        spans = [slice(*cut) for cut in itertools.pairwise(cuts)]
        shown = sum(known) * (spans[0].stop - spans[0].start)
        engines[0].expect(shown if len(known) == len(points) else None)
        if len(engines) == 1:
            done = _Done([])
            self._do(engines[0], spans[0], done)
            return done.parts, done.interrupted()
        found = [_Done([]) for _ in engines]
        for engine in engines[1:]:
            engine.stop_with(engines[0])
        others = [
            threading.Thread(target=self._do, args=triple, daemon=True)
            for triple in zip(engines[1:], spans[1:], found[1:], strict=True)
        ]
        for other in others:
            other.start()
        # The first works here: only the main thread hears Ctrl-C, which stops all.
        self._do(engines[0], spans[0], found[0])
        for other in others:
            other.join()
        parts: list[list[Part]] = []
        cut = False
        for done in found:
            if not cut:
                parts += done.parts
            cut = done.interrupted() or cut
        return parts, cut or engines[0].stopped

    def _do(self, engine: Engine, span: slice, done: _Done) -> None:
        kept = max(one.method.kept(one.options) for one in self._wanted)
        try:
            for block in engine.blocks(self._score, self._baselines, kept=kept, span=span):
                done.parts.append(
                    [
                        self._run(one, at, block)
                        for one, at in zip(self._wanted, self._places, strict=True)
                    ]
                )
        except BaseException as error:  # noqa: BLE001 - raised again by `interrupted`
            done.error = error
            engine.stop()

    def _run(self, one: Wanted, places: Sequence[Place], block: Block) -> Part:
        """Run a method at every place that was asked for."""
        count = block.engine.count
        before, started = (count.forward, count.backward), time.perf_counter()
        try:
            found = _at_places(one, places, block)
        except Exception as error:
            if isinstance(error, PellucidError) or not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"what {one.method.name} keeps of the rows does not fit into the memory of "
                f"{block.engine.device}; explain fewer samples at a time"
            ) from error
        passed = (count.forward - before[0], count.backward - before[1])
        return Part.of(found, block, Cost(*passed, time.perf_counter() - started))


def _at_places(one: Wanted, places: Sequence[Place], block: Block) -> dict[str, Attribution]:
    if one.method.joint:
        many = one.method.run(block, tuple(places), **one.options)
        return {place.name: part for place, part in zip(places, many, strict=True)}
    return {place.name: one.method.run(block.at(place), **one.options) for place in places}


@dataclass
class _Done:
    """What one engine has finished, and what ended it."""

    parts: list[list[Part]]
    error: BaseException | None = None

    def interrupted(self) -> bool:
        """Return whether Ctrl-C ended it; raise whatever else did."""
        if self.error is None:
            return False
        if isinstance(self.error, KeyboardInterrupt):
            return True
        raise self.error


def _check_comparison(methods: Sequence[Method], baseline: Any, background: Any) -> None:
    """Raise an `InputError` for a baseline or background that no method has a use for."""
    check_word(baseline)
    given = not (isinstance(baseline, str) and baseline == "auto")
    names = " and ".join(dict.fromkeys(one.name for one in methods))
    does = "compares" if len(methods) == 1 else "compare"
    if given and not any(one.baseline for one in methods):
        samples = any(one.samples for one in methods)
        instead = "give one sample as background=x[None]" if samples else "leave baseline out"
        raise InputError(f"{names} {does} with no baseline; {instead}")
    if background is not None and not any(
        one.baseline or one.background or one.samples for one in methods
    ):
        raise InputError(f"{names} {does} with no baseline, so takes no background; leave it out")
    if given and background is not None and all(one.samples for one in methods):
        raise InputError(
            f"{names} {does} with the samples of a background, or with one baseline; give one of "
            "the two"
        )
    for one in methods:
        if one.background and background is None:
            raise InputError(
                f"{one.name} compares with samples of the data: give them as background=..."
            )


def _settled(chosen: Sequence[Method], names: list[str], engine: Engine) -> list[list[str]]:
    """Return each method's places; those of maps find their layer where none is named."""
    of_maps = [one for one in chosen if one.where == "map"]
    if not of_maps or "input" not in names:
        return [names for _ in chosen]
    first = of_maps[0].name
    if len(names) > 1:
        raise InputError(
            f"{first} is made at layers with rows and columns, and at= names the input beside "
            "layers; leave one of the two out"
        )
    known = registry.registered().values()
    instead = [one.name for one in known if one.where == "any" and not one.background]
    last = engine.model.channels_last
    found = last_map(*engine.outputs(), last, method=first, instead=instead)
    return [[found] if one.where == "map" else names for one in chosen]


def _cost(engines: Sequence[Engine], parts: Sequence[Part], seconds: float, *, alone: bool) -> Cost:
    """Return what a method cost: all that was done, or, of several, its own part of it."""
    if alone:
        forward = sum(engine.count.forward for engine in engines)
        return Cost(forward, sum(engine.count.backward for engine in engines), seconds)
    return Cost(
        sum(part.cost.forward for part in parts),
        sum(part.cost.backward for part in parts),
        sum(part.cost.seconds for part in parts),
    )


def _computed(request: Request, engines: Sequence[Engine]) -> dict[str, Any]:
    """Return settings of how it was computed, where that is not the plain way."""
    found: dict[str, Any] = {}
    if request.precision is not None:
        found["precision"] = f"autocast to {request.precision}"
    if request.compile:
        found["compiled"] = "inductor" if request.compile is True else request.compile
    if len(engines) > 1:
        found["replicas"] = len(engines)
    return found


def _carried(batch: Inputs) -> str | None:
    """Name the inputs that stay what they are, at the baseline too, and get no attribution."""
    there = batch.tensors(attributed=False)
    return (
        ", ".join(f"{path} ({leaf.dtype})".replace("torch.", "") for path, leaf in there.items())
        or None
    )


def _spoken(target: Any) -> str:
    if callable(target):
        return f"function {getattr(target, '__name__', type(target).__name__)}"
    if target is None or isinstance(target, (str, int, np.integer)):
        return str(target)
    if isinstance(target, tuple) and len(target) == 2 and isinstance(target[0], str):
        return f"{target[0]}, {target[1]}"
    return "one for each sample"


def _device_names(engines: Sequence[Engine]) -> str:
    return ", ".join(_device_name(engine.device) for engine in engines)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
