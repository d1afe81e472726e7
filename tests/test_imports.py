"""Importing Pellucid is quick: what is heavy loads when it is first used."""

import subprocess
import sys
from pathlib import Path

import pytest

import pellucid as pl

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "captum", "umap", "numba", "plotly", "pandas", "sklearn", "scipy", "matplotlib")


def loaded_by(statement):
    """The top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [
        ("import pellucid", set()),
        ("import pellucid as pl; dir(pl); pl.errors; pl.__version__", set()),
        ("import pellucid.datasets", set()),
        ("import pellucid as pl; pl.load", set()),
        ("import pellucid.cli", set()),
        ("import pellucid.viz", {"plotly", "pandas"}),
    ],
)
def test_nothing_heavy_is_loaded(statement, allowed):
    assert not loaded_by(statement) & set(HEAVY) - allowed


def test_import_does_not_need_numpy():
    assert "numpy" not in loaded_by("import pellucid")


def test_every_public_name_is_there():
    assert sorted(pl.__all__) == pl.__all__
    for name in pl.__all__:
        assert getattr(pl, name) is not None
        assert name in dir(pl)
    assert "__version__" in dir(pl)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'explane'"):
        pl.explane


def test_the_package_is_not_shadowed_by_the_checkout():
    # The folders interpret/, viz/ and datasets/ stand at the top of the repository.
    for name in ("interpret", "viz", "datasets"):
        assert getattr(pl, name).__name__ == f"pellucid.{name}"
        top = sys.modules.get(name)  # somebody else's, if there is one
        assert top is None or ROOT not in Path(top.__file__).parents
