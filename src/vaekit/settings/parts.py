"""A part chosen by name, with options: "flow", or {"name": "flow", "transforms": 8}.

The options of a part are the keyword-only arguments of its class, so a new part needs an entry in its registry
and nowhere else.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vaekit.errors import UserError, near_matches
from vaekit.settings.limits import check, hints_of

Part = str | Mapping[str, Any]


def choose(what: str, part: Part, known: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Return the name and the options of a part. UserError if the name is not in `known`."""
    options = dict(part) if isinstance(part, Mapping) else {"name": part}
    if "name" not in options:
        raise UserError(f"{what}={dict(options)} has no 'name': add one{near_matches('', known)}")
    name = str(options.pop("name")).lower().replace("-", "_")
    if name not in known:
        raise UserError(f"{what}={name!r} is not one of the choices{near_matches(name, known)}")
    return name, options


def options_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The options of a part, by name."""
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


def check_options(what: str, name: str, options: Mapping[str, Any], factory: Callable[..., Any]) -> None:
    """UserError for an option that `factory` does not have, or whose value does not fit its annotation."""
    hints = hints_of(factory) if options else {}
    known = options_of(factory)
    for key, value in options.items():
        if key not in known:
            there = near_matches(str(key), known) or "; it has no options"
            raise UserError(f"{what} {name!r} has no option {key!r}{there}")
        check(f"{what}.{key}", value, hints[key])
