"""`Recorder`: writes down what happens while a model is trained."""

from __future__ import annotations

import atexit
import os
import platform
import time
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from pellucid.errors import InputError, InputTypeError, UnwritableError
from pellucid.files import as_path
from pellucid.interpret.results import Run
from pellucid.interpret.training.recording.activations import Activations, layer_name, observed
from pellucid.interpret.training.recording.pages import WATCHED, Page, Scalars
from pellucid.interpret.training.recording.parameters import Parameters
from pellucid.interpret.training.recording.statistics import Key
from pellucid.interpret.training.recording.store import read_store
from pellucid.interpret.training.recording.watch import Watch
from pellucid.interpret.training.recording.writer import FORMAT, Writer

_DENSE = 64  # histograms of each quantity, until they are recorded half as often
_IN_FLIGHT = 4  # pages that may be on their way from the device
_PATIENCE = 1.0  # seconds between two writings of metrics, where nothing else is recorded


class Recorder:
    """Writes down how a model learns: metrics, weights, gradients, updates, layers' outputs.

    It works with any training loop. Nothing in the loop changes but for one line at its end; the
    training itself comes out the same, bit by bit, with the recorder and without.

    Gradients and updates are read when an optimizer that holds the model's parameters takes its
    step, so that they are what it saw: unscaled, clipped, summed up. Layers' outputs are read in
    the first forward pass of a step in training mode. Of a compiled model they cannot be read.

    Parameters
    ----------
    model
        The model that is trained.
    path
        The run's folder, such as ``"runs/first"``; it is created. A training that is taken up
        again may go on in the same folder.
    every
        Every how many steps layers are recorded. Metrics are recorded at every step.
    histograms
        Whether the distributions of weights, gradients and outputs are recorded too: at first
        whenever layers are, and half as often each time that another 64 were, lest a long training
        fills the disk. Or every how many steps, a multiple of `every`.
    activations
        Whether layers' outputs are measured: all, none, or those of the layers named here.
    updates
        Whether it is measured how far each step moves the parameters. For that they are copied
        during a recorded step.
    watch
        A few samples, the same ones at every recorded step, whose predictions are kept: a tensor
        or an array, a tuple of several inputs, or a mapping from names to inputs. They are given
        to the model in evaluation mode.
    watch_layers
        Layers whose outputs for these samples are kept as well, such as feature maps.
    sample_ids
        One for each of these samples.
    name
        The run's name; None for that of its folder.
    start
        How many steps were done before, where a training is taken up again.

    Raises
    ------
    InputError, InputTypeError
        If an option cannot be worked with.
    ModelError
        If the model cannot be run on the watched samples.
    UnwritableError
        If nothing can be written into the folder.

    Examples
    --------
    >>> with pl.Recorder(model, "runs/first") as recorder:  # doctest: +SKIP
    ...     for x, y in batches:
    ...         loss = cross_entropy(model(x), y)
    ...         optimizer.zero_grad()
    ...         loss.backward()
    ...         optimizer.step()
    ...         recorder.step(loss=loss, samples=len(x))
    """

    def __init__(
        self,
        model: nn.Module,
        path: str | os.PathLike[str],
        *,
        every: int = 10,
        histograms: bool | int = True,
        activations: bool | Sequence[str] = True,
        updates: bool = True,
        watch: Any = None,
        watch_layers: Sequence[str] = (),
        sample_ids: Sequence[Any] | np.ndarray | None = None,
        name: str | None = None,
        start: int = 0,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputTypeError(f"model is a {type(model).__name__}; expected a torch.nn.Module")
        self._every = _whole("every", every, 1)
        self._step = _whole("start", start, 0)
        self._spacing, self._thinning, self._dense = 0, histograms is True, _DENSE
        if histograms:
            self._spacing = every if histograms is True else _whole("histograms", histograms, 1)
            if self._spacing % every:
                raise InputError(
                    f"histograms={histograms} must be a multiple of every={every}: layers are "
                    "recorded at those steps only"
                )
        if watch is None and (len(watch_layers) or sample_ids is not None):
            raise InputError("watch_layers and sample_ids need samples; give them as watch=")
        beneath, compiled = _beneath(model)
        self._rank = _rank()
        layers = observed(beneath, activations)
        if self._rank or compiled:
            layers = {}  # hooks would be compiled in, or never be called
        self._watch = None
        if watch is not None and not self._rank:
            self._watch = Watch(beneath, watch, tuple(watch_layers), sample_ids)

        self._path = as_path(path).absolute()  # the program may change its folder
        try:
            self._writer = Writer(self._path)
        except OSError as error:
            raise UnwritableError(
                f"cannot record into {self._path}: {error.strerror or error}"
            ) from error
        self._started = time.perf_counter()
        self._writer.line(
            "start",
            format=FORMAT,
            name=name or self._path.resolve().name,
            model=type(beneath).__name__,
            rank=self._rank,
            step=self._step,
            step_unit="step",
            layers=[layer_name(key, beneath) for key, _ in beneath.named_modules()],
            time=time.time(),
            every=self._every,
            versions={"torch": torch.__version__, "python": platform.python_version()},
        )
        self._process = os.getpid()
        self._scalars = Scalars()
        self._pages: deque[Page] = deque()
        self._page: Page | None = None
        self._columns: dict[tuple[Key, ...], int] = {}
        self._closed = self._warned = False
        self._sound, self._told = True, False  # all layers' values are finite; a loss was not
        self._flushed = self._started
        self._samples = 0.0
        self._last: tuple[int, float] | None = None
        self._activations = Activations(beneath, layers, guard=self._guard)
        self._parameters = Parameters(beneath, updates=updates, guard=self._guard)
        try:
            self._writer.flush()
        except OSError as error:
            self._parameters.close()
            raise UnwritableError(
                f"cannot record into {self._path}: {error.strerror or error}"
            ) from error
        atexit.register(self.close)
        if self._step % self._every == 0:
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def run(self) -> Run:
        """All that was recorded so far."""
        self._flush()
        return read_store(self._path)

    def step(self, *, samples: float | None = None, **metrics: Any) -> None:
        """Say that a step of the training is done.

        Parameters
        ----------
        samples
            How many samples the step saw; gives the throughput.
        **metrics
            What was measured, such as ``loss=loss``: numbers, or tensors of one value, for which
            the device is not waited for.

        Raises
        ------
        InputTypeError, InputError
            If a metric is not a single number, or the recorder is closed.
        """
        self._check_open()
        now = time.perf_counter()
        self._scalars.add(self._step, now - self._started, metrics)
        if samples is not None:
            self._samples += samples
        if self._page is not None:
            self._finish(self._page, now)
        self._turn()
        self._step += 1
        if self._step % self._every == 0 or self._troubled():
            self._open()
        if now - self._flushed > _PATIENCE:
            self._flush()

    def epoch(self, **metrics: Any) -> None:
        """Note what was measured at the end of an epoch, at the last step that was done.

        Parameters
        ----------
        **metrics
            Such as ``val_loss=0.3``: numbers, or tensors of one value.

        Raises
        ------
        InputTypeError, InputError
            If a metric is not a single number, or the recorder is closed.
        """
        self._check_open()
        self._scalars.add(max(0, self._step - 1), None, metrics)
        self._flush(wait=True)

    def close(self) -> None:
        """Write what is left, and let go of the model. Nothing is recorded afterwards."""
        if self._closed or os.getpid() != self._process:
            return
        self._closed = True
        atexit.unregister(self.close)
        self._page = None
        self._activations.close()
        self._parameters.close()
        self._flush(wait=True)
        self._writer.close()

    @staticmethod
    def lightning(path: str | os.PathLike[str], **options: Any) -> Any:
        """Return a Lightning callback that records: see `callbacks.lightning`."""
        from pellucid.interpret.training import callbacks

        return callbacks.lightning(path, **options)

    @staticmethod
    def hugging_face(path: str | os.PathLike[str], **options: Any) -> Any:
        """Return a Hugging Face callback that records: see `callbacks.hugging_face`."""
        from pellucid.interpret.training import callbacks

        return callbacks.hugging_face(path, **options)

    def _check_open(self) -> None:
        if self._closed:
            raise InputError(f"the recorder of {self._path} is closed; make a new one")

    def _open(self) -> None:
        """Listen to the step that begins now."""
        histograms = bool(self._spacing) and self._step % self._spacing == 0
        if histograms and self._thinning:
            self._dense -= 1
            if not self._dense:
                self._spacing, self._dense = 2 * self._spacing, _DENSE
        self._page = Page(self._step, histograms=histograms)
        if not self._rank:
            self._activations.open(self._page.gathering, histograms=histograms)
            self._parameters.open(self._page.gathering, histograms=histograms)

    def _finish(self, page: Page, now: float) -> None:
        """Complete what is recorded of the step that was just done, and send it."""
        self._page = None
        self._activations.close()
        page.units, page.values = self._activations.units, self._activations.values
        if not self._rank:
            self._guard(self._parameters.finish)
            page.guessed = self._parameters.guessed
            self._scalars.extend(self._parameters.rates())
        if self._last is not None:
            step, before = self._last
            self._scalars.extend({"steps_per_second": (self._step - step) / (now - before)})
            if self._samples:
                self._scalars.extend({"samples_per_second": self._samples / (now - before)})
        self._last, self._samples = (self._step, now), 0.0
        if self._watch is not None:
            self._guard(self._look, self._watch, page)
        page.scalars = self._scalars.fetch(page.gathering)
        self._guard(page.gathering.send)
        self._pages.append(page)

    @staticmethod
    def _look(watch: Watch, page: Page) -> None:
        page.sample_ids = watch.sample_ids
        for name, values in watch.look().items():
            page.gathering.fetch((WATCHED, name), values)

    def _turn(self, *, wait: bool = False) -> None:
        """Write the pages whose numbers have arrived."""
        turned = False
        while self._pages and (
            wait or len(self._pages) > _IN_FLIGHT or self._pages[0].gathering.ready()
        ):
            self._guard(self._write, self._pages.popleft())
            turned = True
        if turned:
            self._flush()

    def _write(self, page: Page) -> None:
        found = page.write(self._writer, self._scalars, self._columns)
        if found is not None and self._sound:
            self._sound = False
            layer, text = found
            trouble = self._scalars.trouble
            if trouble is not None and trouble[0] < page.step:
                text += "; this is the first step that was looked at after the loss broke"
            self._event(page.step, layer, text)

    def _troubled(self) -> bool:
        """Return whether a loss has just turned out not to be finite."""
        if self._scalars.trouble is None or self._told:
            return False
        self._told = True
        step, name, value = self._scalars.trouble
        self._event(step, None, f"{name} is {value:g}")
        # Where it comes from shows at the next step, if it has not shown already.
        return self._sound

    def _event(self, step: int, layer: str | None, text: str) -> None:
        self._writer.line("event", step=step, event="not finite", layer=layer, text=text)

    def _flush(self, *, wait: bool = False) -> None:
        """Write what is ready; with `wait`, all of it."""
        if wait:
            self._turn(wait=True)
        self._scalars.write(self._writer, wait=wait)
        self._troubled()
        self._flushed = time.perf_counter()
        try:
            self._writer.flush()
        except OSError as error:
            self._warn(f"cannot write to {self._writer.path}: {error.strerror or error}")

    def _guard(self, work: Callable[..., None], *given: Any) -> None:
        """Do something that may go wrong without stopping the training."""
        try:
            work(*given)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._warn(f"a part of the step was not recorded: {type(error).__name__}: {error}")

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"the recorder of {self._path}: {text}. The training goes on; this is said once",
                stacklevel=2,
            )


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise InputError(f"{name} is a whole number of {least} or more; got {value!r}")
    return int(value)


def _beneath(model: nn.Module) -> tuple[nn.Module, bool]:
    """Return the model beneath its wrappers, and whether it is compiled."""
    compiled = False
    while True:
        compiled |= getattr(model, "_compiled_call_impl", None) is not None
        inside = getattr(model, "_orig_mod", None)
        if isinstance(inside, nn.Module):
            model, compiled = inside, True
        elif isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        else:
            return model, compiled


def _rank() -> int:
    """Return which of several processes that train one model this is."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank()
    rank = os.environ.get("RANK", "0")
    return int(rank) if rank.isdigit() else 0
