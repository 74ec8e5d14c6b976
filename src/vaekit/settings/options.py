"""What a setting says of itself, once, beside its default: the command line and the documentation are made of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

DATA, MODEL, TRAINING, DEVICES = "Data", "Model", "Training", "Devices"
LABELS, POLICIES = "Few labels, with --label-column", "Policies, with --kind actions"


@dataclass(frozen=True)
class Search:
    """The values that `vaekit tune` tries for a setting. Only a setting that leaves the bound of a row comparable may have it.

    Attributes:
        low, high: numbers from here to there. log: evenly in their logarithms.
        choices: these values. Without numbers and choices: every name that the setting can have.
        usual: whether it is searched if the user does not ask for it.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()
    usual: bool = True


@dataclass(frozen=True)
class Option:
    """The form in which the command line offers a setting.

    Attributes:
        help: what it does; the choices and the default are added to it. panel: where it stands.
        flags: its names; none: "--" and the name of the setting.
        parse: reads what the user typed, whose type is that of its only argument.
        search: what `vaekit tune` tries; None: it cannot be searched.
    """

    help: str
    panel: str = TRAINING
    flags: tuple[str, ...] = ()
    parse: Callable[[Any], Any] | None = None
    search: Search | None = None


def setting(
    default: Any,
    help: str,
    panel: str = TRAINING,
    *flags: str,
    parse: Callable[[Any], Any] | None = None,
    search: Search | None = None,
) -> Any:
    """A field of a dataclass that is an option, see `Option`. A class as the default makes one for each object."""
    start: Any = {"default_factory": default} if isinstance(default, type) else {"default": default}
    return field(**start, metadata={"option": Option(help, panel, flags, parse, search)})


def split_option(hint: Any) -> tuple[Any, Option | None]:
    """An annotation without the option that it carries, and the option."""
    bare, *more = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    if not more or not isinstance(more[-1], Option):
        return hint, None
    return Annotated[(bare, *more[:-1])] if more[:-1] else bare, more[-1]


def options_in(declares: Any) -> Iterator[tuple[str, Option, Any]]:
    """The options that a dataclass or a function declares: name, option and annotation. A field that a subclass declares again,
    for another default, is the same option. An argument of a function is `Annotated` with its option."""
    hints = {name: split_option(hint) for name, hint in get_type_hints(declares, include_extras=True).items()}
    found = {name: option for name, (_, option) in hints.items() if option}
    for each in reversed(getattr(declares, "__mro__", ())):
        found |= {f.name: f.metadata["option"] for f in fields(each) if f.metadata} if is_dataclass(each) else {}
    for name, option in found.items():
        yield name, option, hints[name][0]
