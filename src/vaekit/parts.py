"""A part chosen by name, with options: "flow", or {"name": "flow", "transforms": 8}.

The options of a part are the keyword-only arguments of its class, so a new part needs no entry anywhere but in its
registry.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vaekit.errors import UserError, near_matches

Part = str | Mapping[str, Any]


def choose(what: str, part: Part, known: Iterable[str]) -> tuple[str, dict[str, Any]]:
    """Name and options of a part. UserError where the name is not one of `known`: the near matches and all of them."""
    options = dict(part) if isinstance(part, Mapping) else {"name": part}
    if "name" not in options:
        raise UserError(f"{what}={dict(options)} names no {what}: add 'name'{near_matches('', known)}")
    name = str(options.pop("name")).lower().replace("-", "_")
    if name not in known:
        raise UserError(f"{what}={name!r} is not one of the choices{near_matches(name, known)}")
    return name, options


def options_of(factory: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The options of a part, by name."""
    parameters = inspect.signature(factory).parameters.values()
    return {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is not p.empty}


def check_options(what: str, name: str, options: Mapping[str, Any], factory: Callable[..., Any]) -> None:
    """UserError for an option that `factory` has not, or whose value is of another kind than its default."""
    known_options = options_of(factory)
    for key, value in options.items():
        if key not in known_options:
            known = near_matches(str(key), known_options) if known_options else "; it has none"
            raise UserError(f"{what} {name!r} has no option {key!r}{known}")
        default = known_options[key].default
        annotation = str(known_options[key].annotation)
        whole = isinstance(default, int) or "int" in annotation
        wanted = None
        if isinstance(value, bool) or isinstance(default, bool):
            alike = isinstance(value, bool) and isinstance(default, bool)
            wanted = None if alike else "true or false" if isinstance(default, bool) else "not yes or no"
        elif value is None and default is None:
            pass
        elif key == "warmup":
            fits = isinstance(value, int | float) and 0 <= value <= 1
            wanted = None if fits else "a share of the run, from 0 to 1"
        elif isinstance(default, float):
            wanted = None if isinstance(value, int | float) and not value < 0 else "a number, 0 or more"
        elif default is None and not whole:
            wanted = None if isinstance(value, int | float) else "a number"
        elif isinstance(default, tuple) or (isinstance(value, list | tuple) and "Sequence" in annotation):
            fits = isinstance(value, list | tuple) and all(isinstance(v, int) and v > 0 for v in value)
            wanted = None if fits else "a list of whole numbers, such as [128, 128]"
        elif whole:
            wanted = None if isinstance(value, int) and value >= 1 else "a whole number, 1 or more"
        if wanted:
            raise UserError(f"{what}.{key}={value!r}: it has to be {wanted}")
        if isinstance(value, float) and not abs(value) < float("inf"):
            raise UserError(f"{what}.{key}={value!r}: it has to be a finite number")
