"""The shape of the code, counted: the counts may fall, and never rise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "vaekit"
FILES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SOURCE.rglob("*.py"))}

# Who stands on whom, from the ground floor up: imports point down this line only.
FLOORS = (
    ("errors",), ("forms",), ("files",), ("threads",), ("settings",), ("frame",), ("nets",), ("distributions",), ("model",), ("objectives",), ("training",),
    ("structures",), ("conditions",), ("show",), ("bundled",), ("sources",), ("kinds",), ("fitted",), ("evaluation",), ("uses",), ("runs",),
    ("estimators",), ("evolution",), ("robots",), ("plot",), ("runtime",), ("recipes",), ("deploy",), ("distributed",), ("serve",), ("cli", "__main__"),
)  # fmt: skip
KINDS = {"images", "rows", "table", "text", "series", "actions", "audio"}
FORMS = {"TimeSeries", "Demonstrations", "Frame", "Images", "Table", "Text", "Rows", "Series", "Actions", "Audio"}
ASKS = {"is_texts", "is_frame"}
AT_HOME = ("kinds", "sources", "robots", "frame")  # where a question about the kind is at home


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Modules of vaekit that a file imports, and whether it does so as it is imported itself."""
    late = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.Lambda) for n in ast.walk(f)}
    typing = {
        id(n)
        for i in ast.walk(tree)
        if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.dump(i.test)
        for n in ast.walk(i)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "vaekit":
            names = [f"{node.module}.{a.name}" for a in node.names]
            yield from ((name.removeprefix("vaekit."), id(node) not in late | typing) for name in names)


def kind_questions(tree: ast.Module) -> Iterator[int]:
    """Lines that ask which kind of data this is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            asked = any(
                isinstance(s, ast.Attribute) and s.attr in ("name", "kind") and "kind" in ast.unparse(s) for s in sides
            )
            named = {
                c.value for s in sides for c in ast.walk(s) if isinstance(c, ast.Constant) and isinstance(c.value, str)
            }
            if asked and named & KINDS:
                yield node.lineno
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            form = {n.id for a in node.args[1:] for n in ast.walk(a) if isinstance(n, ast.Name)}
            if node.func.id in ASKS or (node.func.id == "isinstance" and form & FORMS):
                yield node.lineno


def reaches(tree: ast.Module) -> Iterator[int]:
    """Lines that use what another class or module keeps to itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = ast.unparse(node.value)
            if (
                owner not in ("self", "super()", "type(self)")
                and not owner.startswith(("cls", "torch"))
                and "quantiser" not in owner
            ):
                yield node.lineno


def found(count, rooms=None):
    return [
        f"{path.relative_to(SOURCE)}:{line}"
        for path, tree in FILES.items()
        if rooms is None or room(path) not in rooms
        for line in count(tree)
    ]


def test_few_places_ask_which_kind_of_data_this_is() -> None:
    asking = found(kind_questions, AT_HOME)
    assert len(asking) <= 6, asking


def test_what_a_class_keeps_to_itself_stays_there() -> None:
    assert found(reaches) == []


def test_imports_point_down() -> None:
    floor = {name: i for i, names in enumerate(FLOORS) for name in names}
    assert {room(path) for path in FILES} - {"__init__"} == set(floor)
    up = [
        f"{path.relative_to(SOURCE)} -> {name}"
        for path, tree in FILES.items() if room(path) != "__init__"
        for name, now in imports(tree) if name.split(".")[0] in floor and floor[name.split(".")[0]] > floor[room(path)]
    ]  # fmt: skip
    assert up == []


def test_no_modules_import_each_other() -> None:
    names = {".".join(p.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): p for p in FILES}
    graph = {
        name: {next((m for m in (i, i.rpartition(".")[0]) if m in names), i) for i, now in imports(FILES[path]) if now}
        - {name}
        for name, path in names.items()
    }

    def walk(name: str, trail: tuple[str, ...]) -> list[str]:
        if name in trail:
            return ["->".join((*trail[trail.index(name) :], name))]
        if name in done or name not in graph:
            return []
        circles = [c for other in graph[name] for c in walk(other, (*trail, name))]
        done.add(name)
        return circles

    done: set[str] = set()
    circles = [c for name in graph for c in walk(name, ())]
    assert circles == []


def test_a_kind_is_named_in_one_list() -> None:
    """What a new kind has to touch beside its own file: the list of kinds, and nothing else."""
    touched = [
        str(p.relative_to(SOURCE)) for p in FILES if re.search(r"kinds\.audio|\bAudio\b", p.read_text(encoding="utf-8"))
    ]
    touched.remove("kinds/audio.py")
    assert touched == ["kinds/__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_is_of_a_size_that_one_can_hold_in_the_head(path: Path) -> None:
    assert path.read_text(encoding="utf-8").count("\n") <= 500
