"""The benchmark harness counts what it says; its figures are not for tests to judge."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks import harness

    return harness


def test_pairs_run_in_turn_and_the_ratio_is_the_peers_time_over_ours(
    harness, tmp_path, monkeypatch
):
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    clock = iter(range(10**6))
    monkeypatch.setattr(harness.time, "perf_counter", lambda: next(clock) / 1000)
    order = []

    def ours():
        order.append("ours")

    def peer():
        order.append("peer")
        next(clock)
        next(clock)

    table = harness.Table("some", "A question", "a peer", torch.device("cpu"))
    table.add("work", ours, peer, pairs=4)
    assert order[:2] == ["ours", "peer"]  # the first runs, which do not count
    assert sorted(order[2:]) == ["ours"] * 4 + ["peer"] * 4
    assert order[2:4] != order[4:6], "who goes first changes"
    (row,) = table.rows
    assert row.ours == pytest.approx([0.001] * 4)
    assert row.peer == pytest.approx([0.003] * 4)
    assert "**3.00** (3.00 to 3.00) | 4 |" in row.row()
    text = table.write().read_text(encoding="utf-8")
    assert "A question" in text
    assert f"torch {torch.__version__}" in text


def test_an_unknown_benchmark_is_named():
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "speed"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert "no benchmark 'speed'" in run.stderr


def test_the_models_do_what_the_tables_say(harness):
    from benchmarks.models import mlp, resnet

    model, images = resnet(torch.device("cpu"), 2)
    with torch.no_grad():
        assert model(images).shape == (2, 1000)
    assert sum(p.numel() for p in model.parameters()) == 11_689_512, (
        "torchvision's ResNet-18 has so many"
    )
    model, rows = mlp(torch.device("cpu"), 300)
    assert model(rows).shape == (300, 2)
