"""What is in the wheel is what is in the tree, and a laptop without torch can draw a result."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest

import pellucid as pl
from pellucid.interpret.results import Explanation

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "src/pellucid": "pellucid",
    "interpret": "pellucid/interpret",
    "viz": "pellucid/viz",
    "datasets": "pellucid/datasets",
}
DATA = {".py", ".typed", ".js", ".css", ".gz", ".md", ".txt"}


def command(*arguments, **options):
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def tree():
    """Where every module and data file of the checkout belongs in the wheel."""
    return {
        f"{package}/{file.relative_to(ROOT / folder).as_posix()}"
        for folder, package in FOLDERS.items()
        for file in (ROOT / folder).rglob("*")
        if file.suffix in DATA and "__pycache__" not in file.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the checkout, without what an earlier build left in it."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder)
    out = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    command(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", out, copy)
    return next(out.glob("pellucid-*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_the_tree(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    packed = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert packed == tree()
    assert "pellucid/py.typed" in packed
    assert any(name.endswith("licenses/LICENSE") for name in names)
    entries = next(name for name in names if name.endswith("entry_points.txt"))
    assert "pellucid = pellucid.cli:main" in zipfile.ZipFile(wheel).read(entries).decode()


def test_there_is_one_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pl.__version__ == project["version"]
    assert f"## [{pl.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_requirement_has_a_tested_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(line for lines in extras for line in lines), "setuptools"]
    pinned = re.findall(r"^([a-z0-9-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    names = {re.match(r"[\w.-]+", line)[0].lower() for line in wanted} - {"pellucid"}
    assert names <= set(pinned)


@pytest.mark.slow
def test_a_laptop_without_torch_draws_a_result(wheel, tmp_path):
    saved = Explanation(
        values=np.array([[0.5, -0.25, 0.0]]),
        inputs=np.array([[1.0, 2.0, 3.0]]),
        method="integrated_gradients",
        prediction=np.array([1.25]),
        baseline_prediction=np.array([1.0]),
        feature_names=("age", "height", "weight"),
        axes=("sample", "feature"),
    ).save(tmp_path / "explanation.safetensors")

    command(sys.executable, "-m", "venv", tmp_path / "laptop")
    python = tmp_path / "laptop" / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = (python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    needs = ("numpy", "pandas", "plotly", "safetensors")
    command(*pip, "-c", ROOT / "constraints.txt", *needs, cwd=tmp_path)
    command(*pip, "--no-deps", wheel, cwd=tmp_path)

    program = f"""
import importlib.util

assert importlib.util.find_spec("torch") is None
import pellucid as pl

explanation = pl.load({str(saved)!r})
print(explanation)
figure = pl.viz.figure(explanation)
figure.to_json()
print(type(figure))
"""
    shown = command(python, "-c", program, cwd=tmp_path)
    assert "integrated_gradients" in shown
    assert "plotly.graph_objs" in shown
