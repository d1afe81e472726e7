"""The demo and the command line, as a person runs them."""

import os
import subprocess
import sys

import numpy as np
import pytest

import pellucid as pl
from pellucid.cli import main


@pytest.mark.slow
def test_the_demo_explains_two_models_and_writes_a_report(tmp_path):
    folder = tmp_path / "demo"
    run = subprocess.run(
        [sys.executable, "-P", "-m", "pellucid", "demo", str(folder)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONWARNINGS": "error::UserWarning:pellucid"},
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert "report.html" in run.stdout
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert len(report) > 500_000
    saved = {path.stem: pl.load(path) for path in folder.glob("*.safetensors")}
    assert len(saved) == 7
    digits = saved["digits-explained"]
    assert (digits.error <= 0.01).all()
    assert len(digits) == 4
    wrong = saved["wrong-digit-explained"]
    assert wrong.prediction[0] > wrong.prediction[1], "the wrong class must have the higher logit"
    assert saved["diagnosis-explained"].units == "logit"
    assert saved["features-ranked"].values.max() > 0
    assert saved["digits-projected"].preservation.mean() > 0.4
    assert saved["digits-training"].metrics["held-out accuracy"][1][-1] > 0.95


def test_reports_are_written_from_saved_results(tmp_path, capsys):
    run = pl.interpret.Run(metrics={"loss": (np.arange(3), np.ones(3))})
    run.save(tmp_path / "run.safetensors")
    assert main(["report", str(tmp_path / "run.safetensors"), "-o", str(tmp_path / "r.html")]) == 0
    assert (tmp_path / "r.html").exists()
    assert "r.html" in capsys.readouterr().out


def test_a_missing_file_is_one_sentence_and_a_status(tmp_path, capsys):
    assert main(["report", str(tmp_path / "nothing.safetensors")]) == 1
    told = capsys.readouterr().err
    assert "nothing.safetensors" in told
    assert "Traceback" not in told


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["demo", str(tmp_path / "file" / "demo")]) == 1
    assert "cannot make the folder" in capsys.readouterr().err


def test_the_methods_are_listed_with_their_promise(capsys):
    assert main(["methods"]) == 0
    told = capsys.readouterr().out
    for name in pl.methods():
        assert name in told


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert pl.__version__ in capsys.readouterr().out
