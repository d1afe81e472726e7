"""Options and profiles that all tests share."""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "pellucid",
    deadline=None,  # the first example pays for imports
    max_examples=50,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("pellucid")


def pytest_addoption(parser):
    parser.addoption(
        "--device",
        default="cpu",
        help="where models and their inputs are put: cpu (the default), cuda, cuda:1, mps",
    )


@pytest.fixture(scope="session")
def device(request):
    """The torch.device of --device; tests that ask for it are skipped where there is none."""
    import torch

    name = request.config.getoption("--device")
    chosen = torch.device(name)
    backend = {"cuda": torch.cuda, "mps": torch.backends.mps}.get(chosen.type)
    if backend is not None and not backend.is_available():
        pytest.skip(f"--device {name}: torch finds no such device on this machine")
    return chosen
