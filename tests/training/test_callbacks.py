"""The recorder in the real Lightning and Hugging Face trainers."""

import pickle
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers
from torch.utils.data import DataLoader, TensorDataset

from pellucid.errors import InputError, MissingDependencyError
from pellucid.interpret.training.recorder import Recorder
from pellucid.interpret.training.recording.store import read_store


def nothing_is_left():
    return not any(
        (
            modules._global_forward_hooks,
            modules._global_forward_pre_hooks,
            optimizers._global_optimizer_pre_hooks,
            optimizers._global_optimizer_post_hooks,
        )
    )


def rows(count=24):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 4, generator=generator)
    return x, (x.sum(1) > 0).long()


def fit(callbacks, *, fail_at=None, **options):
    """Train a small module with Lightning; return it, and the losses that it saw."""
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
            self.losses, self.norms = [], []

        def training_step(self, batch, index):
            x, y = batch
            if fail_at == index:
                raise ZeroDivisionError
            loss = cross_entropy(self.net(x), y)
            self.log("train_loss", loss, on_step=False, on_epoch=True)
            self.losses.append(loss.item())
            return loss

        def validation_step(self, batch, index):
            x, y = batch
            self.log("val_loss", cross_entropy(self.net(x), y))

        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), 0.01)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

        def on_before_zero_grad(self, optimizer):
            pass

    torch.manual_seed(0)
    module = Module()
    data = DataLoader(TensorDataset(*rows()), batch_size=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=callbacks,
            **options,
        )
        trainer.fit(module, data, DataLoader(TensorDataset(*rows(8)), batch_size=8))
    return module


def test_lightning(tmp_path):
    module = fit([Recorder.lightning(tmp_path, every=2)], gradient_clip_val=1e-3)
    assert nothing_is_left()
    run = read_store(tmp_path)
    np.testing.assert_array_equal(run.metrics["loss"][0], range(12))
    np.testing.assert_allclose(run.metrics["loss"][1], module.losses, rtol=1e-6)
    np.testing.assert_array_equal(run.metrics["val_loss"][0], [5, 11])
    np.testing.assert_array_equal(run.metrics["train_loss"][0], [5, 11])
    np.testing.assert_allclose(
        run.metrics["train_loss"][1], np.reshape(module.losses, (2, 6)).mean(1), rtol=1e-5
    )
    np.testing.assert_allclose(
        run.metrics["learning_rate"], [[0, 2, 4, 6, 8, 10], [0.01] * 3 + [0.005] * 3]
    )
    assert list(run.layers) == ["net.0", "net.1", "net.2"]
    # Lightning's gradients are computed inside of the optimizer's step, and clipped there.
    norms = [
        pair[1]
        for name in ("weight", "bias")
        for pair in run.statistic(f"{name}.gradient.norm").values()
    ]
    total = np.sqrt(np.square(norms).sum(0))
    np.testing.assert_allclose(total, 1e-3, rtol=1e-3)
    assert run.histograms["net.1/output"].counts[0].sum() == 32
    assert "samples_per_second" in run.metrics


def test_lightning_sums_up_batches(tmp_path):
    module = fit([Recorder.lightning(tmp_path, every=1)], accumulate_grad_batches=3)
    run = read_store(tmp_path)
    np.testing.assert_array_equal(run.metrics["loss"][0], range(4))
    np.testing.assert_allclose(run.metrics["loss"][1], module.losses[2::3], rtol=1e-6)
    assert len(run.layers["net.0"]["weight.gradient.norm"][0]) == 4


def test_lightning_trains_the_same_with_and_without(tmp_path):
    plain, ours = fit([]), fit([Recorder.lightning(tmp_path, every=1)])
    for one, other in zip(plain.parameters(), ours.parameters(), strict=True):
        assert torch.equal(one, other)


def test_lightning_fails(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fit([Recorder.lightning(tmp_path, every=1)], fail_at=3)
    assert nothing_is_left()
    np.testing.assert_array_equal(read_store(tmp_path).metrics["loss"][0], range(3))


def hugging_face(path, callbacks, **options):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

        def forward(self, x, labels):
            scores = self.net(x)
            return {"loss": cross_entropy(scores, labels), "logits": scores}

    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return 24

        def __getitem__(self, k):
            x, y = rows()
            return {"x": x[k], "labels": y[k]}

    torch.manual_seed(0)
    trainer = transformers.Trainer(
        model=Classifier(),
        args=transformers.TrainingArguments(
            output_dir=str(path / "trainer"),
            max_steps=8,
            per_device_train_batch_size=4,
            learning_rate=0.01,
            lr_scheduler_type="constant",
            logging_steps=2,
            eval_strategy="steps",
            eval_steps=4,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
            seed=0,
            **options,
        ),
        train_dataset=Data(),
        eval_dataset=Data(),
        callbacks=callbacks,
    )
    trainer.train()
    return trainer


def test_hugging_face(tmp_path, capsys):
    trainer = hugging_face(tmp_path, [Recorder.hugging_face(tmp_path / "run", every=2)])
    assert nothing_is_left()
    run = read_store(tmp_path / "run")
    logged = {
        name: [entry[name] for entry in trainer.state.log_history if name in entry]
        for name in ("loss", "grad_norm", "eval_loss")
    }
    np.testing.assert_allclose(run.metrics["loss"], [[1, 3, 5, 7], logged["loss"]])
    np.testing.assert_allclose(run.metrics["eval_loss"], [[3, 7], logged["eval_loss"]])
    np.testing.assert_allclose(run.metrics["learning_rate"], [[0, 2, 4, 6], [0.01] * 4])
    assert set(run.metrics) == {
        "loss", "grad_norm", "eval_loss", "learning_rate", "steps_per_second", "samples_per_second",
    }  # fmt: skip
    assert list(run.layers) == ["net.0", "net.1", "net.2"]
    assert len(run.layers["net.2"]["weight.gradient.norm"][0]) == 4
    # Step 2 is a recorded one, and the trainer's norm is that of the gradients it clipped to 1.
    assert run.histograms["net.1/output"].counts[0].sum() == 32


def test_hugging_face_trains_the_same_with_and_without(tmp_path, capsys):
    plain = hugging_face(tmp_path, [], gradient_accumulation_steps=2)
    ours = hugging_face(
        tmp_path, [Recorder.hugging_face(tmp_path / "run", every=1)], gradient_accumulation_steps=2
    )
    for one, other in zip(plain.model.parameters(), ours.model.parameters(), strict=True):
        assert torch.equal(one, other)
    run = read_store(tmp_path / "run")
    assert len(run.layers["net.0"]["weight.update_ratio"][0]) == 8


@pytest.mark.parametrize(
    ("make", "package", "modules_"),
    [
        (Recorder.lightning, "lightning", ("lightning.pytorch", "pytorch_lightning")),
        (Recorder.hugging_face, "transformers", ("transformers",)),
    ],
)
def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch, make, package, modules_):
    from pellucid.interpret.training import callbacks

    for name in modules_:
        monkeypatch.setitem(sys.modules, name, None)
    for made in (callbacks._lightning_class, callbacks._hugging_face_class):
        made.cache_clear()
    with pytest.raises(MissingDependencyError, match=f"pip install {package}"):
        make(tmp_path)


def test_options_are_checked_before_the_training_starts(tmp_path):
    for make in (Recorder.lightning, Recorder.hugging_face):
        with pytest.raises(InputError, match="no option 'evry'; it takes every, histograms"):
            make(tmp_path, evry=3)


def test_callbacks_travel_to_other_processes(tmp_path):
    for make, package in (
        (Recorder.lightning, "lightning"),
        (Recorder.hugging_face, "transformers"),
    ):
        pytest.importorskip(package)
        sent = pickle.loads(pickle.dumps(make(tmp_path, every=3)))
        assert type(sent) is type(make(tmp_path))
        assert (sent._path, sent._options) == (tmp_path, {"every": 3})
