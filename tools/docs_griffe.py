"""Docstrings as the site needs them: Markdown that keeps its asterisks, and parameters each with its own type.

A docstring's `(batch, *grid)` is plain text, where Markdown would see emphasis, and its references are numbered as
numpy does it. And of parameters that share one entry, `query, key, scale`, the parser gives all the type of the first.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

PARAMETERS = griffe.DocstringSectionKind.parameters


class PlainDocstrings(griffe.Extension):
    """Mends every docstring once, when it has been read."""

    def on_instance(self, *, obj: Any, **_: Any) -> None:
        if obj.docstring is None:
            return
        obj.docstring.value = as_markdown(obj.docstring.value)
        if obj.is_function:
            sections = obj.docstring.parse("numpy", warn_unknown_params=False, warn_missing_types=False)
            for section in sections:
                if section.kind is PARAMETERS:
                    with_own_types(obj, section.value)
            obj.docstring.__dict__["parsed"] = sections  # what `docstring.parsed` would compute


def with_own_types(function: griffe.Function, entries: list[Any]) -> None:
    """Types and defaults as the signature has them."""
    for entry in entries:
        if entry.name in function.parameters:
            given = function.parameters[entry.name]
            entry.annotation, entry.value = given.annotation, given.default


def as_markdown(text: str) -> str:
    """The text in Markdown: asterisks escaped but in code spans, examples and indented blocks; references as a list."""
    lines, example, section = [], False, False
    for line in text.split("\n"):
        section = section or set(line) == {"-"}
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        name = re.fullmatch(r"\s*\*+\w+", line)  # **modifiers, a parameter
        if not example and not name and (section or not line.startswith("    ")):
            pieces = re.split(r"(`+[^`]*`+)", line)
            line = "".join(each if each.startswith("`") else each.replace("*", r"\*") for each in pieces)
        line = re.sub(r"\[(\d+)\]_(?!\w)", r"[\1]", line)  # references, and their list
        lines.append(re.sub(r"^(\s*)\.\. \[(\d+)\] ", r"\1\2. ", line))
    return "\n".join(lines)
