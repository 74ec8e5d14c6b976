"""Kinds of data. Each is one file or folder, with a class `Kind` that knows everything particular to it.

To add one, write the file and add its class to `KINDS`; or ship it in a package of your own, with an entry point of the group
`vaekit.kinds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pkgutil import resolve_name
from typing import Any

from vaekit.errors import UserError, note
from vaekit.forms.tokens import is_texts
from vaekit.frame import Frame
from vaekit.kinds.base import Kind
from vaekit.settings.parts import Part, choose, options_of
from vaekit.sources.arrays import as_array

KINDS = (
    "vaekit.kinds.text:Text",
    "vaekit.kinds.table:Table",
    "vaekit.kinds.pictures:Images",
    "vaekit.kinds.rows:Rows",
    "vaekit.kinds.series:Series",
    "vaekit.robots.actions:Actions",
    "vaekit.kinds.audio:Audio",
)
"""In the order in which they are asked whether they recognise data. They are imported when `kinds` is first called."""


@cache
def kinds() -> dict[str, type[Kind]]:
    """All kinds of data by name: vaekit's own, and those of installed packages.

    A note names a kind that fails to import or lacks a piece.

    Example:
        >>> from vaekit.kinds import kinds
        >>> sorted(kinds())
        ['actions', 'audio', 'images', 'rows', 'series', 'table', 'text']
    """
    found = {kind.name: kind for kind in map(resolve_name, KINDS)}
    for entry in entry_points(group="vaekit.kinds"):
        try:
            kind = entry.load()
            if lacks := kind.missing():
                raise TypeError(f"it lacks {', '.join(lacks)}")
            found[kind.name] = kind
        except Exception as e:  # whatever a stranger's module raises
            note(f"the kind of data {entry.name!r} is left out: {entry.value} cannot be used ({type(e).__name__}: {e})")
    return found


def kind_part(part: Part) -> tuple[str, dict[str, Any]]:
    """Name and options of the setting `kind`; the name may be left out. UserError if there is no such kind."""
    return choose("kind", {"name": "auto", **part} if isinstance(part, Mapping) else part, ["auto", *kinds()])


def check_kind(part: Part) -> None:
    """UserError if the setting `kind` cannot be right, whatever the data."""
    name, options = kind_part(part)
    for option, value in options.items():
        owners = [k for k in kinds().values() if name in ("auto", k.name) and option in options_of(k.infer)]
        (owners[0] if owners else kinds().get(name, Kind)).check_options({option: value})


def chosen_kind(
    part: Part, X: Any, likelihood: str = "auto", source: str = "auto"
) -> tuple[type[Kind], dict[str, Any], Any]:
    """Find the kind of data of X. Also returns the options that the user gives for it, and X as an array, a table or as it is.

    Args:
        part: the setting; "auto" asks each kind whether it recognises X.
        likelihood: its name. A table of numbers that are to have another one than "mixed" is rows.
        source: the kind of data that X was read as, where that is known.
    """
    name, options = kind_part(part)
    if X is None:
        raise UserError("X is None: give the rows, such as an array, a DataFrame or a list of texts")
    X = X if isinstance(X, str | Frame) or is_texts(X) else as_array(X)
    known = kinds()
    if name == "auto" and source in known and known[source].only_likelihood in (None, likelihood):
        name = source
    kind = known[name] if name != "auto" else next(k for k in known.values() if k.recognises(X, likelihood))
    for option in options:
        owners = " or ".join(each.noun for each in known.values() if option in options_of(each.infer))
        if owners and option not in options_of(kind.infer):
            raise UserError(f"{option} is for {owners}, and these are {kind.noun}: leave it out")
    kind.check_options(options)
    return kind, options, X


__all__ = ["KINDS", "Kind", "check_kind", "chosen_kind", "kind_part", "kinds"]
