"""A Sphinx extension: docstrings are plain text with `code`, and become reStructuredText here."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

API = Path(__file__).resolve().parent / "reference" / "api"
LISTED = re.compile(r"^\.\. auto(class|function|exception|method):: (\S+)\n(?:   :members: (.+)\n)?", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
SPECIAL = re.compile(r"([*|\\]|_(?=\W|$))")
COLON = "\ue000"  # napoleon takes what stands before a colon in the docstring of an attribute for its type
SECOND = re.compile(r"\. (\w+(?:, \w+)*): ")  # a second argument on the line of the first


def setup(app: Any) -> dict[str, bool]:
    app.config.napoleon_attr_annotations = False  # types come from annotations that link nowhere
    app.connect("autodoc-process-docstring", process, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", restore, priority=900)
    return {"parallel_read_safe": True}


def known() -> dict[str, tuple[str, str]]:
    """What the pages document: role and full name, by the full name and by the name alone."""
    found: dict[str, tuple[str, str]] = {}
    roles = {"class": "class", "function": "func", "exception": "exc", "method": "meth"}
    for page in sorted(API.glob("*.md")):
        for kind, name, members in LISTED.findall(page.read_text(encoding="utf-8")):
            found[name] = found[name.rsplit(".", 1)[1]] = (roles[kind], name)
            for member in filter(None, members.split(", ")):
                full = f"{name}.{member}"
                found[full] = found[".".join(full.split(".")[-2:])] = ("meth", full)
    return found


KNOWN = known()


def process(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring in place. Examples stay as they are."""
    written, example, attribute = [], False, what in ("attribute", "property", "data")
    for line in lines:
        example = bool(line.strip()) and (example or line.lstrip().startswith(">>> "))
        written += [line] if example else [marked(each, name, attribute) for each in apart(line, arguments(of))]
    lines[:] = written


def restore(app: Any, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [line.replace(COLON, ":") for line in lines]


def arguments(of: Any) -> set[str]:
    """The names that a docstring of this object may describe, each on a line of its own."""
    try:
        names = set(inspect.signature(of).parameters)
    except (TypeError, ValueError):
        names = set()
    return names | set(dir(of)) | set(getattr(of, "__annotations__", ())) if inspect.isclass(of) else names


def apart(line: str, names: set[str]) -> list[str]:
    """Lines of one argument each."""
    indent = line[: len(line) - len(line.lstrip())]
    if not indent or not re.match(r"\s+\w+(, \w+)*: ", line):
        return [line]
    for second in SECOND.finditer(line):
        if set(second[1].split(", ")) <= names:
            return [line[: second.start() + 1], *apart(indent + line[second.start() + 2 :], names)]
    return [line]


def marked(line: str, name: str, attribute: bool) -> str:
    """A line in which `code` is code, or a link, and nothing else is markup."""
    head = re.match(r"\s+\w+(, \w+)*: |", line)[0]  # names of arguments, which napoleon escapes itself
    parts = [head]
    for i, part in enumerate(CODE.split(line[len(head) :])):
        if i % 2:
            parts.append(linked(part, name))
        else:
            plain = SPECIAL.sub(r"\\\1", part)
            parts.append(
                "\\ " * bool(i and re.match(r"\w", plain)) + (plain.replace(":", COLON) if attribute else plain)
            )
    return "".join(parts)


def linked(code: str, name: str) -> str:
    """Code, which is a link if the pages document it elsewhere."""
    if code in KNOWN and KNOWN[code][1] != name:
        role, full = KNOWN[code]
        return f":py:{role}:`{code} <{full}>`"
    return f"``{code}``"
