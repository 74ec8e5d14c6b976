"""What `vaekit tune` tries: the settings say it themselves, see `vaekit.settings.options.Search`, and the user may name more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from vaekit.errors import UserError, near_matches
from vaekit.estimators.checks import FLAT_ONLY
from vaekit.kinds import Kind
from vaekit.recipes.options import offered
from vaekit.recipes.recipe import Recipe, settings_of
from vaekit.settings.limits import check, fits, hints_of
from vaekit.settings.parse import parse_value
from vaekit.settings.parts import choose, options_of
from vaekit.training.fit import Training

WIDE = 10  # a range whose end is that many times its beginning is searched in its logarithm
DIGITS = 3  # of a number that is tried: what is shown is what was used


@dataclass(frozen=True)
class Range:
    """The values that are tried for a setting: numbers from `low` to `high`, or one of `choices`.

    Attributes:
        log: evenly in the logarithm. whole: whole numbers only.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    choices: tuple[Any, ...] = ()

    def suggest(self, name: str, trial: Any) -> Any:
        """The value of an Optuna trial."""
        if self.choices:
            return trial.suggest_categorical(name, self.choices)
        if self.whole:
            return trial.suggest_int(name, self.low, self.high, log=self.log)
        return rounded(trial.suggest_float(name, self.low, self.high, log=self.log))

    def __contains__(self, value: Any) -> bool:
        if self.low is None or self.high is None:
            return value in self.choices
        return isinstance(value, int | float) and self.low <= value <= self.high

    def __str__(self) -> str:
        return ", ".join(map(str, self.choices)) if self.choices else f"{self.low:g}..{self.high:g}"


def rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


class Space:
    """The space of a search for a recipe: `ranges` by the name of a setting, or of an option of a part, such as "prior.components".

    Args:
        recipe: what it says is fixed. kind: of the data.
        asked: what the user adds or narrows, each "NAME", "NAME=low..high" or "NAME=a,b,c".
        fixed: names that the command line fixes, which cannot be asked for, too.

    Raises:
        UserError: a name or a value that cannot be searched.
    """

    def __init__(self, recipe: Recipe, kind: type[Kind], asked: Sequence[str] = (), fixed: Collection[str] = ()):
        self.recipe, self.kind, self.parts = recipe, kind, recipe.estimator.parts
        own = settings_of(recipe.estimator)
        self.known = {name: each for name, each in offered().items() if each.option.search and name in own}
        found = {}
        for name, each in self.known.items():
            usual = each.option.search.usual and recipe.settings.get(name) is None  # type: ignore[union-attr]
            if usual and self.has(recipe, name):
                found[name] = self.declared(name)
        for text in asked:
            name, _, values = text.partition("=")
            name = name.strip().lower().removeprefix("--").replace("-", "_")
            if name in fixed:
                raise UserError(f"--search {name}: another option already fixes it: leave one of the two out")
            found[name] = self.asked(name, values)
        # A part comes before what depends on it.
        order = sorted(found, key=lambda name: ("." in name, name != "structure"))
        self.ranges = {name: found[name] for name in order if len(found[name].choices) != 1}
        if not self.ranges:
            raise UserError(f"nothing is left to search: name a setting with --search{near_matches('', self.known)}")

    # -- ranges --------------------------------------------------------------------------------------------------------

    def declared(self, name: str) -> Range:
        """The range that a setting has by itself, for this kind of data."""
        said = self.kind.ranges.get(name, self.known[name].option.search)
        assert said is not None
        if said.low is not None:
            return Range(said.low, said.high, said.log, whole=not fits(said.low + 0.5, self.known[name].hint))
        names = self.names(name)
        return Range(choices=tuple(each for each in said.choices or names if not names or each in names))

    def names(self, name: str) -> list[str]:
        """The names that a setting can have; none if it has no names."""
        if name == "size":
            return [*self.recipe.estimator.sizes]
        return [each for each in self.parts.get(name, ()) if each != "auto"]

    def asked(self, name: str, values: str) -> Range:
        """The range that the user asks for; without values that of the setting itself."""
        hint = self.hint(name)
        if not values:
            if "." in name:
                raise UserError(f"--search {name} needs values: {name}=low..high, or {name}=a,b,c")
            return self.declared(name)
        if ".." in values:
            low, high = (self.value(name, text, hint) for text in values.split("..", 1))
            if isinstance(low, str | bool) or isinstance(high, str | bool):
                raise UserError(f"--search {name}={values}: a range is of numbers: give the values as {name}=a,b,c")
            if not low < high:
                raise UserError(f"--search {name}={values}: give the smaller number first, and a larger one behind ..")
            return Range(low, high, low > 0 and high >= WIDE * low, whole=not fits(low + 0.5, hint))
        choices = tuple(dict.fromkeys(self.value(name, text, hint) for text in values.split(",")))
        if len(choices) == 1:
            raise UserError(f"--search {name}={values} is one value: fix it with --{name.replace('_', '-')} {values}")
        return Range(choices=choices)

    def value(self, name: str, text: str, hint: Any) -> Any:
        """A value as the user types it. UserError for one that the setting cannot have."""
        value = parse_value(f"search {name}", text.strip())
        if name in self.parts:
            return choose(f"--search {name}", str(value), self.parts[name])[0]
        if name == "size" and value not in self.names(name):
            raise UserError(
                f"--search size={value} is not one of the choices{near_matches(str(value), self.names(name))}"
            )
        check(f"--search {name}", value, hint)
        return value

    def hint(self, name: str) -> Any:
        """The values that a setting, or an option of a part, may have. UserError if it cannot be searched."""
        part, _, key = name.partition(".")
        if part not in self.known or (key and part not in self.parts):
            raise UserError(f"--search {name}: this cannot be searched{near_matches(part, self.known)}")
        if not key:
            return self.known[name].hint
        hints = {k: hints_of(each)[k] for each in self.parts[part].values() for k in options_of(each)}
        if key not in hints:
            raise UserError(f"--search {name}: no {part} has such an option{near_matches(key, hints)}")
        return hints[key]

    # -- a trial -------------------------------------------------------------------------------------------------------

    def has(self, recipe: Recipe, name: str) -> bool:
        """Whether a model of this recipe has the setting or option at all: it may depend on the name of a part."""
        part, _, key = name.partition(".")
        if part in FLAT_ONLY and self.part(recipe, "structure") not in (None, "flat"):
            return False
        chosen = self.part(recipe, part)
        return not key or key in options_of(self.parts[part]["elbo" if chosen == "auto" else str(chosen)])

    def part(self, recipe: Recipe, what: str) -> str | None:
        """The name of a part; None if the estimator has no such part."""
        if what not in self.parts:
            return None
        return choose(what, recipe.settings.get(what) or recipe.default(what), self.parts[what])[0]

    def chosen(self, trial: Any) -> tuple[Recipe, dict[str, Any]]:
        """The recipe of an Optuna trial, and the values that it tries."""
        recipe, values = replace(self.recipe, settings=deepcopy(self.recipe.settings)), {}
        for name, each in self.ranges.items():
            if self.has(recipe, name):
                values[name] = each.suggest(name, trial)
                put(recipe, name, values[name])
        return recipe, values

    def with_values(self, values: Mapping[str, Any]) -> Recipe:
        """The recipe with values that were tried."""
        recipe = replace(self.recipe, settings=deepcopy(self.recipe.settings))
        for name, value in values.items():
            put(recipe, name, value)
        return recipe

    def defaults(self) -> dict[str, Any]:
        """The defaults of `vaekit fit` for the settings that are searched, as far as they are in their ranges."""
        found = {}
        for name, each in self.ranges.items():
            own = (self.recipe.settings.get(name), settings_of(self.recipe.estimator).get(name))
            value = next(
                (v for v in (*own, self.kind.training.get(name), getattr(Training, name, None)) if v is not None), None
            )
            value = self.kind.objective if value == "auto" else value
            if value in each:
                found[name] = value
        return found


def put(recipe: Recipe, name: str, value: Any) -> None:
    """Set a setting, or an option of a part. A structure leaves out the settings that its models do not have."""
    part, _, key = name.partition(".")
    if name == "structure" and value != "flat":
        recipe.settings = {key: kept for key, kept in recipe.settings.items() if key not in FLAT_ONLY}
    if key:
        recipe.set_part(part, {key: value})
    else:
        offered()[name].put(recipe, value)
