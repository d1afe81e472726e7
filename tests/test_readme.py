"""The README is true: every block of Python in it runs, one after another, as a reader would."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


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
    for written in ("wine.safetensors", "wine.html", "audit.html"):
        assert (tmp_path / written).stat().st_size > 1000


def test_every_make_target_of_the_readme_exists():
    makefile = README.with_name("Makefile").read_text(encoding="utf-8")
    targets = {t for block in blocks("sh") for t in re.findall(r"\bmake (\w+)", block)}
    assert {"demo", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")))
def test_every_link_of_the_readme_leads_somewhere(link):
    assert link.startswith("http") or (README.parent / link).exists()
