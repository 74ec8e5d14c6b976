"""What values an argument may have: its annotation says so, and `check` compares a value with it.

A plain `int` is a count: 1 or more. A plain `float` is finite and 0 or more. `Annotated` gives other bounds
(`patience: Share`), and `Literal` lists the choices.
"""

from __future__ import annotations

import math
import numbers
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from vaekit.errors import UserError, near_matches
from vaekit.settings.options import split_option

LARGEST = 10**6  # units, classes or layers: more do not fit in any memory
MOST = 10**9  # steps or draws, which come one after the other


@dataclass(frozen=True)
class Within:
    """Numbers from `low` to `high`; the ends themselves are left out where `above` and `below` say so."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        return (self.low < value if self.above else self.low <= value) and (
            value < self.high if self.below else value <= self.high
        )

    def __str__(self) -> str:
        if self.high == math.inf:
            return "" if self.low == -math.inf else f" above {self.low}" if self.above else f", {self.low} or more"
        low = f"above {self.low} and" if self.above else f"from {self.low} to"
        return f" {low} {'below ' if self.below else 'at most ' if self.above else ''}{self.high:,}"


COUNT, WEIGHT = Within(1, LARGEST), Within(0)

Number = Annotated[float, Within()]
Positive = Annotated[float, Within(0, above=True)]
Share = Annotated[float, Within(0, 1)]
ShareBelow1 = Annotated[float, Within(0, 1, below=True)]
Whole = Annotated[int, Within(0, LARGEST)]
Many = Annotated[int, Within(1, MOST)]
Seed = Annotated[int, Within(0, 2**32 - 1)]  # as in NumPy and scikit-learn


def check(name: str, value: Any, hint: Any) -> None:
    """UserError if `value` does not fit the annotation `hint`."""
    if fits(value, hint):
        return
    choices = [str(c) for part in parts(hint) if get_origin(part) is Literal for c in get_args(part)]
    if choices:
        raise UserError(f"{name}={reprlib.repr(value)} is not one of the choices{near_matches(str(value), choices)}")
    wanted = " or ".join(described(part) for part in parts(hint) if part is not NoneType)
    raise UserError(f"{name}={reprlib.repr(value)} has to be {wanted}")


def check_all(values: Mapping[str, Any], hints: Mapping[str, Any], what: str = "") -> None:
    """UserError for the first value whose name has no annotation, or that does not fit it. what: the part that they configure."""
    for name, value in values.items():
        if name not in hints:
            raise UserError(f"{what} has no option {name!r}{near_matches(str(name), hints) or '; it has no options'}")
        check(f"{what}.{name}" if what else name, value, hints[name])


def check_call(function: Callable[..., Any], **given: Any) -> None:
    """UserError for the first argument of a function that does not fit its annotation."""
    check_all(given, hints_of(function))


def hints_of(factory: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of the arguments of a class or function, by name."""
    while isinstance(factory, partial):
        factory = factory.func
    own = factory if is_dataclass(factory) or not isinstance(factory, type) else factory.__init__  # type: ignore[misc]
    return {name: split_option(hint)[0] for name, hint in get_type_hints(own, include_extras=True).items()}


def fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (int, float):
        return fits(value, Annotated[hint, COUNT if hint is int else WEIGHT])
    if origin is Annotated:
        kind = numbers.Integral if arguments[0] is int else numbers.Real
        return isinstance(value, kind) and not isinstance(value, bool) and is_finite(value) and value in arguments[1]
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin is tuple:
        return isinstance(value, list | tuple) and len(value) == len(arguments) and all(map(fits, value, arguments))
    if origin in (list, Sequence):
        return isinstance(value, list | tuple) and all(fits(each, arguments[0]) for each in value)
    return hint is Any or (callable(value) if origin is Callable else isinstance(value, origin or hint))


def is_finite(number: Any) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond all floats
        return False


def parts(hint: Any) -> tuple[Any, ...]:
    """The members of a union; a hint that is not a union is its own member."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def described(hint: Any) -> str:
    """Say in words which values fit."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"a {'whole number' if arguments[0] is int else 'number'}{arguments[1]}"
    if hint in (int, float):
        return described(Annotated[hint, COUNT if hint is int else WEIGHT])
    if origin is tuple:
        return f"a list of {len(arguments)}, each {described(arguments[0])}"
    if origin in (list, Sequence):
        return f"a list, each {described(arguments[0])}"
    words = {str: "a word", bool: "true or false", Mapping: "a dict", Callable: "a function"}
    return words.get(origin or hint) or f"a {getattr(hint, '__name__', hint)}"
