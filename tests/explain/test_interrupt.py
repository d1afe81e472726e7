"""Ctrl-C keeps the rows that are finished, and leaves everything as it was."""

import contextlib
import signal
import threading

import numpy as np
import pytest
import torch
from methods import GENERAL, METHODS, needed
from small_models import left_in_training
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import Interrupted

ROWS = 600  # three blocks of at most 256


class Pressed(nn.Module):
    """Ctrl-C comes during one of the forward passes."""

    def __init__(self, during=None, press=lambda: signal.raise_signal(signal.SIGINT)):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.during, self.press, self.calls = left_in_training(), during, press, 0

    def forward(self, x):
        self.calls += 1
        if self.calls == self.during:
            self.press()
        return self.body(x)


def raise_at_once():
    raise KeyboardInterrupt


PRESSES = {"signal": lambda: signal.raise_signal(signal.SIGINT), "exception": raise_at_once}


def options_for(method, x):
    fewer = {"steps": 9, "draws": 4}
    known = {key: value for key, value in fewer.items() if key in METHODS[method].options}
    return known | needed(method, x)


@pytest.fixture(autouse=True)
def usual_handler():
    """Whatever ran before, Ctrl-C is Python's own here, and is again afterwards."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("press", PRESSES)
@pytest.mark.parametrize("method", GENERAL)
def test_finished_rows_are_kept(method, press):
    x, target = torch.randn(ROWS, 6), np.arange(ROWS) % 3
    arguments = {"method": method, "target": target, "batch_size": 100, **options_for(method, x)}
    whole = Pressed()
    expected = pl.explain(whole, x, sample_ids=np.arange(ROWS) + 7, **arguments)
    model = Pressed(during=whole.calls * 3 // 4, press=PRESSES[press])
    before = state_of(model, x)
    with pytest.raises(Interrupted, match=r"after (256|512) of 600 rows") as caught:
        pl.explain(model, x, sample_ids=np.arange(ROWS) + 7, **arguments)
    assert changes(before, state_of(model, x)) == []
    partial = caught.value.partial
    n = len(partial)
    assert n in (256, 512)
    np.testing.assert_array_equal(partial.values, expected.values[:n])
    np.testing.assert_array_equal(partial.prediction, expected.prediction[:n])
    np.testing.assert_array_equal(partial.inputs, expected.inputs[:n])
    assert partial.target.tolist() == target[:n].tolist()
    assert partial.sample_ids.tolist() == list(range(7, 7 + n))
    assert partial.summary()


@pytest.mark.parametrize("press", PRESSES)
def test_nothing_is_kept_where_nothing_is_finished(press):
    model, x = Pressed(during=2, press=PRESSES[press]), torch.randn(40, 6)
    before = state_of(model)
    with pytest.raises(Interrupted, match="before any row was finished") as caught:
        pl.explain(model, x, target=0, batch_size=10)
    assert caught.value.partial is None
    assert changes(before, state_of(model)) == []


def test_ctrl_c_in_the_very_last_pass_is_not_lost():
    """A loop over small batches would otherwise never notice it."""
    x = torch.randn(4, 6)
    whole = Pressed()
    expected = pl.explain(whole, x, method="saliency", target=0)
    model = Pressed(during=whole.calls)
    with pytest.raises(Interrupted, match="after 4 of 4 rows") as caught:
        pl.explain(model, x, method="saliency", target=0)
    np.testing.assert_array_equal(caught.value.partial.values, expected.values)


def test_second_ctrl_c_stops_at_once():
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("the second one stops here")

    with pytest.raises(KeyboardInterrupt):
        pl.explain(Pressed(during=2, press=twice), torch.randn(40, 6), target=0, batch_size=10)


def test_ctrl_c_is_no_exception_that_except_exception_swallows():
    def careless():
        with contextlib.suppress(Exception):
            pl.explain(Pressed(during=2), torch.randn(40, 6), target=0, batch_size=10)

    with pytest.raises(KeyboardInterrupt):
        careless()


def test_handling_of_ctrl_c_by_others_stays_theirs():
    pressed = []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(1))
    try:
        found = pl.explain(Pressed(during=2), torch.randn(4, 6), target=0)
        assert pressed == [1]
        assert len(found) == 4
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_explaining_works_in_another_thread():
    results = []
    thread = threading.Thread(
        target=lambda: results.append(pl.explain(Pressed(), torch.randn(4, 6), target=0))
    )
    thread.start()
    thread.join()
    assert len(results[0]) == 4
