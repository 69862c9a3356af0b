"""What the site has that docs/ has not: the pictures, and a page of reference for each public module."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import docs_pictures

PACKAGE = Path(__file__).parents[1] / "python" / "nearfield"
MAIN = "nearfield"
# Where nearfield.attend, nearfield.explain, ... are written; they stand on the main page.
EXPORTED = {
    f"nearfield.{name}" for name in ("explain", "functional", "grids", "merging", "patterns", "simulation", "unfused")
}


def modules() -> list[str]:
    """The public modules, the one that is `import nearfield` first. What a package exports stands on its own page."""
    return [MAIN, *(name for path in sorted(PACKAGE.iterdir()) for name in _public(path, MAIN))]


def _public(path: Path, package: str) -> list[str]:
    name = f"{package}.{path.stem}"
    if path.name.startswith("_") or name in EXPORTED:
        return []
    if path.suffix == ".py":
        return [name]
    start = path / "__init__.py"
    if not start.is_file():
        return []
    if "__all__" in start.read_text(encoding="utf-8"):
        return [name]
    return [found for each in sorted(path.iterdir()) for found in _public(each, name)]


def page(module: str) -> str:
    """The Markdown of a module's page."""
    text = (
        f"# {module}\n\n::: {module}\n    options:\n      show_root_heading: false\n      show_root_toc_entry: false\n"
    )
    # Of two things of one name the documentation tool takes the module.
    return f"{text}\n::: nearfield.explain.explain\n" if module == MAIN else text


def on_config(config: Any) -> Any:
    config["nav"].append({"Python reference": [{name: f"reference/{name}.md"} for name in modules()]})
    return config


def on_files(files: Files, config: Any) -> Files:
    for name in docs_pictures.PICTURES:
        files.append(File.generated(config, f"pictures/{name}.svg", content=docs_pictures.svg(name)))
    for name in modules():
        files.append(File.generated(config, f"reference/{name}.md", content=page(name)))
    return files
