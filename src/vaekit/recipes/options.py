"""The options of `vaekit fit`: the settings that the recipe, the estimators, the kinds and the training declare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import vaekit
from vaekit.distributions import LIKELIHOODS
from vaekit.kinds import kinds
from vaekit.recipes.recipe import Recipe
from vaekit.runs.load import ESTIMATORS
from vaekit.settings.limits import check, parts
from vaekit.settings.options import Option, options_in
from vaekit.settings.parts import Part
from vaekit.training.fit import Training
from vaekit.training.trackers import TRACKERS


@dataclass(frozen=True)
class Offered:
    """An option of `vaekit fit`.

    Attributes:
        name: of the setting. option: what it says of itself. hint: its annotation.
        owner: the class that declares it; of what a user says about data of one kind, the class of the kind.
    """

    name: str
    option: Option
    hint: Any
    owner: Any

    @property
    def flags(self) -> tuple[str, ...]:
        name = self.name.replace("_", "-")
        return self.option.flags or (f"--{name}/--no-{name}" if self.default is True else f"--{name}",)

    @property
    def default(self) -> Any:
        return getattr(self.owner, self.name, None)

    @property
    def type(self) -> Any:
        """The type that the command line reads: a number, a switch, several words or one."""
        if self.option.parse:
            return next(iter(get_type_hints(self.option.parse).values()))
        plain = [get_args(each)[0] if get_origin(each) is Annotated else each for each in parts(self.hint)]
        found = {get_origin(each) or each for each in plain} - {NoneType}
        return next(
            (each for each in (bool, int, float) if found == {each}), list[str] if found & {list, Sequence} else str
        )

    @property
    def help(self) -> str:
        said, (usual, *others) = [self.option.help], self.defaults
        if self.choices:
            named = (f"{each} (default)" if each == usual else each for each in self.choices)
            said.append(f"One of {', '.join(named)}.")
        elif usual:
            others = [usual, *others]
        if others:
            said.append(f"Default: {'; '.join(others)}.")
        return " ".join(said)

    @property
    def choices(self) -> list[str]:
        """The names it may have, if it is one of several."""
        literals = [get_args(each) for each in parts(self.hint) if get_origin(each) is Literal]
        lists = {"likelihood": ["auto", *LIKELIHOODS], "kind": ["auto", *kinds()], "track": [*TRACKERS]}
        registries = [each.sizes if self.name == "size" else each.parts.get(self.name, ()) for each in estimators()]
        return list(dict.fromkeys(chain(*literals, lists.get(self.name, ()), *registries)))

    @property
    def defaults(self) -> list[str]:
        """The default, and those that differ from it for data of some kind: "128", "512 for tables"."""
        found: dict[Any, list[str]] = {}
        for kind in () if self.owner is Recipe else kinds().values():
            own, training = (
                getattr(each, self.name, None) for each in (getattr(vaekit, kind.estimator or "VAE"), Training)
            )
            value = next((v for v in (own, kind.training.get(self.name), training) if v is not None), None)
            if value not in (None, kind.name):
                found.setdefault(value, []).append(kind.noun)
        first, *others = sorted(found, key=lambda value: -len(found[value])) or [self.default]
        return [as_text(first), *(f"{as_text(value)} for {' and '.join(found[value])}" for value in others)]

    def put(self, recipe: Recipe, value: Any) -> None:
        """Set it in a recipe. UserError for a value that it cannot have, by the name of the option."""
        value = self.option.parse(value) if self.option.parse else value
        check(self.flags[0].partition("/")[0], value, self.hint)
        if self.owner is Recipe:
            setattr(recipe, self.name, value)
        elif self.owner is Training:
            recipe.settings["trainer"] = {**(recipe.settings.get("trainer") or {}), self.name: value}
        elif isinstance(value, str) and (self.hint == Part or self.owner in kinds().values()):
            recipe.set_part(self.name, {"name": value})
        elif self.owner in kinds().values():
            recipe.set_part("kind", {self.name: value})
        else:
            recipe.settings[self.name] = value


def as_text(value: Any) -> str:
    """A default in words; "" where it says nothing."""
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def estimators() -> Iterator[Any]:
    return (getattr(vaekit, name) for name in ESTIMATORS)


@cache
def offered() -> Mapping[str, Offered]:
    """All options by name, in the order in which they are listed and set."""
    declared = [
        (Recipe, Recipe),
        *((each, each) for each in estimators()),
        *((kind, kind.infer) for kind in kinds().values()),
        (Training, Training),
    ]
    found: dict[str, Offered] = {}
    for owner, declares in declared:
        for name, option, hint in options_in(declares):
            found.setdefault(name, Offered(name, option, hint, owner))
    return found


def shown() -> list[dict[str, Any]]:
    """The parts of each option that the command line shows."""
    return [
        {
            "name": name,
            "flags": [*each.flags],
            "type": each.type.__name__,
            "panel": each.option.panel,
            "help": each.help,
        }
        for name, each in offered().items()
    ]


if __name__ == "__main__":  # what `make options` writes
    print(json.dumps(shown(), indent=1, ensure_ascii=False))
