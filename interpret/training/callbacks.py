"""The recorder as a callback of Lightning's and of Hugging Face's trainers."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from pellucid.errors import InputError, MissingDependencyError
from pellucid.interpret.training.recorder import Recorder

# What Hugging Face's trainer logs besides metrics: the recorder has these itself, or they are of
# the whole training.
_NOT_METRICS = ("epoch", "learning_rate", "total_flos", "train_loss")
_NOT_METRICS_ENDS = ("_runtime", "_per_second", "_time", "_flos")


def lightning(path: str | os.PathLike[str], **options: Any) -> Any:
    """Return a Lightning callback that records a training.

    Parameters
    ----------
    path
        The run's folder.
    **options
        Those of `Recorder`. A step is one of the optimizers, so that it may be several batches.

    Returns
    -------
    lightning.pytorch.Callback
        For ``Trainer(callbacks=[...])``. It records the loss of every step, and whatever the
        module logs at the end of each epoch.

    Raises
    ------
    MissingDependencyError
        If neither ``lightning`` nor ``pytorch_lightning`` is installed.
    """
    _check(options)
    return _lightning_class()(path, options)


def hugging_face(path: str | os.PathLike[str], **options: Any) -> Any:
    """Return a Hugging Face callback that records a training.

    Parameters
    ----------
    path
        The run's folder.
    **options
        Those of `Recorder`.

    Returns
    -------
    transformers.TrainerCallback
        For ``Trainer(callbacks=[...])``. The trainer tells callbacks the loss when it logs it,
        every ``logging_steps`` steps, and not in between.

    Raises
    ------
    MissingDependencyError
        If ``transformers`` is not installed.
    """
    _check(options)
    return _hugging_face_class()(path, options)


@functools.cache
def _lightning_class() -> type:
    # The trainer's own package: the two are the same code, but not the same classes.
    names = ["lightning.pytorch", "pytorch_lightning"]
    names.sort(key=lambda name: name not in sys.modules)
    base: Any = _import(names, "lightning").Callback

    class LightningRecorder(base):  # type: ignore[misc]
        """Records a training that Lightning runs."""

        def __init__(self, path: str | os.PathLike[str], options: Mapping[str, Any]) -> None:
            super().__init__()
            self._path, self._options = path, dict(options)
            self.recorder: Recorder | None = None
            self._steps = 0

        def __reduce__(self) -> tuple[Any, ...]:
            return functools.partial(lightning, **self._options), (self._path,)

        def on_train_start(self, trainer: Any, module: Any) -> None:
            self._steps = trainer.global_step
            self.recorder = Recorder(
                module, self._path, **{"start": trainer.global_step, **self._options}
            )

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            if self.recorder is None or trainer.global_step == self._steps:
                return  # gradients are still summed up
            self._steps = trainer.global_step
            loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
            batches = trainer.accumulate_grad_batches
            rows = next((len(one) for one in _tensors(batch) if one.ndim), None)
            self.recorder.step(
                samples=None if rows is None else rows * batches,
                # It was divided by the number of batches that are summed up.
                **({} if loss is None else {"loss": loss * batches}),
            )

        def on_validation_end(self, trainer: Any, module: Any) -> None:
            if self.recorder is not None and not trainer.sanity_checking:
                # What belongs to the training is of the last epoch yet.
                self._note(
                    {k: one for k, one in trainer.callback_metrics.items() if "val" in k.lower()}
                )

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            self._note(trainer.callback_metrics)

        def _note(self, metrics: Mapping[str, Any]) -> None:
            if self.recorder is not None:
                self.recorder.epoch(**metrics)

        def on_train_end(self, trainer: Any, module: Any) -> None:
            self._close()

        def on_exception(self, trainer: Any, module: Any, exception: BaseException) -> None:
            self._close()

        def _close(self) -> None:
            if self.recorder is not None:
                self.recorder.close()

    return LightningRecorder


@functools.cache
def _hugging_face_class() -> type:
    base: Any = _import(["transformers"], "transformers").TrainerCallback

    class HuggingFaceRecorder(base):  # type: ignore[misc]
        """Records a training that Hugging Face's trainer runs."""

        def __init__(self, path: str | os.PathLike[str], options: Mapping[str, Any]) -> None:
            self._path, self._options = path, dict(options)
            self.recorder: Recorder | None = None

        def __reduce__(self) -> tuple[Any, ...]:
            return functools.partial(hugging_face, **self._options), (self._path,)

        def on_train_begin(
            self, args: Any, state: Any, control: Any, model: Any = None, **_: Any
        ) -> None:
            self.recorder = Recorder(
                model, self._path, **{"start": state.global_step, **self._options}
            )

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.recorder is not None:
                self.recorder.step(samples=args.train_batch_size * args.gradient_accumulation_steps)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.recorder is not None and state.global_step:
                self.recorder.epoch(
                    **{
                        name: value
                        for name, value in (logs or {}).items()
                        if isinstance(value, (int, float))
                        and name not in _NOT_METRICS
                        and not name.endswith(_NOT_METRICS_ENDS)
                    }
                )

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.recorder is not None:
                self.recorder.close()
                self.recorder = None

    return HuggingFaceRecorder


def _check(options: Mapping[str, Any]) -> None:
    """Find an option that there is not before the training starts."""
    known = [name for name in Recorder.__init__.__annotations__ if name not in ("model", "path")]
    known.remove("return")
    for name in options:
        if name not in known:
            raise InputError(f"Recorder has no option {name!r}; it takes {', '.join(known)}")


def _import(names: list[str], package: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reason = error
    raise MissingDependencyError(
        f"a callback for {package} needs it installed (pip install {package}): {reason}"
    )


def _tensors(batch: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a batch."""
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for one in batch.values():
            yield from _tensors(one)
    elif isinstance(batch, (tuple, list)):
        for one in batch:
            yield from _tensors(one)
