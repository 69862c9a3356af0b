"""What the documentation shows is true: every code block runs, and so does every example of a docstring."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import doc_blocks
import nearfield
import pytest
from doc_blocks import ROOT

PAGES = sorted((ROOT / "docs").rglob("*.md"))
README = ROOT / "README.md"
MOST_MARKED = 8  # blocks that are not run, in all pages


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _pages_with(*languages: str) -> list[Path]:
    return [page for page in PAGES if doc_blocks.to_run(page, *languages)]


@pytest.mark.parametrize("page", [*_pages_with("python", "sh"), README], ids=_name)
def test_page_runs(page: Path, tmp_path: Path) -> None:
    """A page's Python blocks in one namespace, then its commands, in one folder. tests/install/readme.sh has the
    commands of the README."""
    doc_blocks.run_python(page, tmp_path)
    if page != README:
        doc_blocks.run_shell(page, tmp_path)


@pytest.mark.parametrize("page", _pages_with("c", "cpp"), ids=_name)
def test_programs_compile_and_run(page: Path, tmp_path: Path) -> None:
    doc_blocks.run_compiled(page, tmp_path)


def test_cmake_lines_are_those_of_the_readme() -> None:
    """Which tests/install/readme.sh runs."""
    proven = {block.code for block in doc_blocks.blocks_of(README) if block.language == "cmake"}
    assert len(proven) == 2
    for page in PAGES:
        for block in doc_blocks.to_run(page, "cmake"):
            assert block.code in proven, f"{page.name}:{block.line}"


def test_few_blocks_are_not_run() -> None:
    marked = [
        f"{_name(p)}:{b.line}: {b.not_run}" for p in [*PAGES, README] for b in doc_blocks.blocks_of(p) if b.not_run
    ]
    assert len(marked) <= MOST_MARKED, "\n".join(marked)


def test_blocks_without_a_language_are_no_code() -> None:
    """Commands and programs must not escape by naming no language. (The README's `make` lines are what CI does.)"""
    for page in PAGES:
        for block in doc_blocks.blocks_of(page):
            if block.language in ("", "text"):
                first = block.code.strip().split(" ")[0]
                code = first in (
                    "nearfield",
                    "make",
                    "cmake",
                    "pip",
                    "python",
                    "cc",
                    "c++",
                    "import",
                    "from",
                    "$",
                    ">>>",
                )
                assert not code, f"{_name(page)}:{block.line}: {block.code}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in PAGES:
        assert f": {page.relative_to(ROOT / 'docs')}\n" in navigation, page.name


def _modules() -> list[str]:
    found = [each.name for each in pkgutil.walk_packages(nearfield.__path__, "nearfield.")]
    return ["nearfield", *found]


@pytest.mark.parametrize("module", _modules())
def test_docstring_examples(module: str) -> None:
    result = doctest.testmod(importlib.import_module(module))
    assert result.failed == 0


def test_public_functions_have_examples() -> None:
    """Else the test above proves nothing."""
    finder = doctest.DocTestFinder()
    for name in nearfield.__all__:
        subject = getattr(nearfield, name)
        is_pattern = isinstance(subject, type) and issubclass(subject, nearfield.Pattern)
        if callable(subject) and name != "Pattern" and (is_pattern or not isinstance(subject, type)):
            examples = [example for test in finder.find(subject, name) for example in test.examples]
            assert examples, f"nearfield.{name}: its docstring has no example"


BROKEN = {
    "python": "assert 1 + 1 == 3",
    "sh": "false | true",
    "c": "int main(void) { return 3; }",
    "cpp": "#include <nearfield/nearfield.hpp>\nint main() { nearfield::neighborhood({7, 7}).stride({1}); }",
}


@pytest.mark.parametrize("language", BROKEN)
def test_a_broken_block_fails(language: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Text\n\n```{language}\n{BROKEN[language]}\n```\n")
    run = {"python": doc_blocks.run_python, "sh": doc_blocks.run_shell}.get(language, doc_blocks.run_compiled)
    with pytest.raises(AssertionError, match="page.md"):
        run(page, tmp_path)
    page.write_text(f"Text\n\n<!-- not run: it is broken -->\n```{language}\n{BROKEN[language]}\n```\n")
    run(page, tmp_path)


def test_a_traceback_names_the_line_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\n```\n\ntext\n\n```python\ny = 2\nassert x == y\n```\n")
    with pytest.raises(AssertionError, match=r'page\.md\.py", line 9'):
        doc_blocks.run_python(page, tmp_path)


@pytest.mark.parametrize("text", ["```python title=x\n```\n", "```python\n", " ```python\n ```\n", "```perl\n```\n"])
def test_an_odd_fence_is_refused(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="page.md:1"):
        doc_blocks.blocks_of(page)
