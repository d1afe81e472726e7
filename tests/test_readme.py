"""The README is true: every block of Python in it runs, one after another, as a reader would."""

import doctest
import importlib
import re
from pathlib import Path

import pytest

import pellucid as pl

README = Path(__file__).parent.parent / "README.md"
EXAMPLES = ("pellucid", "pellucid.interpret.explain", "pellucid.interpret.compare")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_every_block_of_python_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    found = blocks("python")
    assert len(found) >= 5
    for block in found:
        exec(compile(block, "README.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "Explanation of" in printed
    assert "estimated relative error" in printed
    # What its comments say of the text, and of the integrals that add up.
    assert names["written"].target_names.tolist() == [["left", "early"]]
    rests_on = names["why"].by_word().set_index("word")["value"]
    assert rests_on.idxmax() == "dull"
    assert rests_on["dull"] > 2 * rests_on.drop("dull").abs().max()
    assert (names["precise"].error <= 0.001).all()
    for written in ("wine.safetensors", "wine.html", "audit.html"):
        assert (tmp_path / written).stat().st_size > 1000


def test_every_make_target_of_the_readme_exists():
    makefile = README.with_name("Makefile").read_text(encoding="utf-8")
    targets = {t for block in blocks("sh") for t in re.findall(r"\bmake (\w+)", block)}
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_table_lists_every_method():
    text = README.read_text(encoding="utf-8")
    table = text.partition("## Methods")[2].partition("```")[0]
    named = [row.split("|")[2] for row in table.splitlines() if row.startswith("|")]
    listed = re.findall(r"`([a-z_]+)`", " ".join(named))
    assert sorted(listed) == sorted(pl.methods())


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_in_docstrings_run(module):
    tried = doctest.testmod(importlib.import_module(module))
    assert tried.attempted
    assert not tried.failed


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")))
def test_every_link_of_the_readme_leads_somewhere(link):
    assert link.startswith("http") or (README.parent / link).exists()
