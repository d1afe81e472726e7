"""`methods` says what is valid for a model, and `method="auto"` chooses and says why."""

import pytest
import torch
from small_models import cnn, mlp
from state import changes, state_of
from torch import nn

import pellucid as pl
from pellucid.errors import InputError, PellucidError
from pellucid.interpret.attribution.registry import registered


def test_without_a_model_all_are_listed():
    known = pl.methods()
    assert known.keys() == registered().keys()
    text = repr(known)
    for name, one in known.items():
        assert f"{name}  ({one.family})" in text
        assert one.cost in text
        assert one.promise in text
    assert not known.refused


@pytest.mark.slow
def test_what_is_listed_for_a_model_works_and_what_is_not_is_refused(device):
    cases = {
        "pictures": (cnn().to(device), torch.randn(3, 1, 6, 6, device=device), {}),
        "rows": (
            mlp().to(device),
            torch.randn(4, 6, device=device),
            {"background": torch.randn(3, 6, device=device)},
        ),
        "function": (lambda x: (x**3).sum(1), torch.randn(4, 6, device=device), {}),
    }
    for model, x, arguments in cases.values():
        before = state_of(model) if isinstance(model, nn.Module) else None
        found = pl.methods(model, x, **arguments)
        if before is not None:
            assert changes(before, state_of(model)) == []
        assert found.keys() | found.refused.keys() == registered().keys()
        assert not found.keys() & found.refused.keys()
        assert found.seconds.keys() == found.keys()
        assert all(0 < seconds < 3600 for seconds in found.seconds.values())
        for name in found.refused:
            given = arguments if registered()[name].background else {}
            with pytest.raises(PellucidError):
                pl.explain(model, x, method=name, **given, **registered()[name].trial)
    assert "grad_cam" in pl.methods(*cases["pictures"][:2])
    rows = pl.methods(*cases["rows"][:2], **cases["rows"][2])
    assert "expected_gradients" in rows
    assert "grad_cam" in rows.refused
    assert "not for this model" in repr(rows)
    assert "deep_lift" in pl.methods(*cases["function"][:2]).refused


def test_methods_for_half_of_what_is_needed_or_for_nothing_that_works_raise(device):
    with pytest.raises(InputError, match="give a model and inputs"):
        pl.methods(mlp())
    with pytest.raises(PellucidError, match="failed on the first"):
        pl.methods(mlp().to(device), torch.randn(3, 5, device=device))


def test_auto_says_what_it_chose_and_why(device):
    model, x = cnn().to(device), torch.randn(3, 1, 6, 6, device=device)
    found = pl.explain(model, x)
    assert found.method == "integrated_gradients"
    assert found.settings["method"].startswith("auto: complete")
    inside = pl.explain(model, x, at=["0", "3"])
    assert inside.method == "conductance"
    assert "all layers share its passes" in inside.settings["method"]
    assert pl.explain(model, x, method="saliency").settings["method"] == "saliency"
