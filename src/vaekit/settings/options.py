"""What a setting says of itself, once, beside its default: the command line and the documentation are made of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

DATA, MODEL, TRAINING, DEVICES = "Data", "Model", "Training", "Devices"
LABELS, POLICIES = "Few labels, with --label-column", "Policies, with --kind actions"


@dataclass(frozen=True)
class Option:
    """How a setting is offered on the command line.

    Attributes:
        help: what it does; the choices and the default are added to it. panel: where it stands.
        flags: its names; none: "--" and the name of the setting.
        parse: reads what the user typed, whose type is that of its only argument.
    """

    help: str
    panel: str = TRAINING
    flags: tuple[str, ...] = ()
    parse: Callable[[Any], Any] | None = None


def setting(
    default: Any, help: str, panel: str = TRAINING, *flags: str, parse: Callable[[Any], Any] | None = None
) -> Any:
    """A field of a dataclass that is an option, see `Option`. A class as the default makes one for each object."""
    start: Any = {"default_factory": default} if isinstance(default, type) else {"default": default}
    return field(**start, metadata={"option": Option(help, panel, flags, parse)})


def options_in(declares: Any) -> Iterator[tuple[str, Option, Any]]:
    """The options that a dataclass or a function declares: name, option and annotation. A field that a subclass declares again,
    for another default, is the same option. Arguments of functions are `Annotated` with an option."""
    hints = get_type_hints(declares, include_extras=True)
    if not isinstance(declares, type):
        for name, hint in hints.items():
            if get_origin(hint) is Annotated and isinstance(option := get_args(hint)[-1], Option):
                yield name, option, get_args(hint)[0]
        return
    found = {
        f.name: f.metadata["option"]
        for each in reversed(declares.__mro__)
        if is_dataclass(each)
        for f in fields(each)
        if "option" in f.metadata
    }
    for name, option in found.items():
        yield name, option, hints[name]
