"""What the page of a run shows. `vaekit.deploy.report` writes the page, and has the plain report of any kind of data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from vaekit.conditions import Condition, Conditions, Label, Number
from vaekit.show.words import nats, number

ROWS = 2000  # shown at most
CLASSES = 20  # shown at most
UNITS, REACH = 8, 3  # units that are moved at most, and how far to each side, in standard deviations of the codes

Group = tuple[str, dict[str, Any], np.ndarray]


@dataclass
class Report:
    """The content of a run's page: the base of all reports.

    A subclass says in `contents` what is on the page. How that looks is a Jinja template in the folder of the subclass, which
    extends `page.html.j2`.

    Attributes:
        estimator: fitted.
        held_out: rows that training did not see, in the form in which sources of the kind are read: `x` and `conditions`.
        results: of `estimator.evaluate`.
        path: of the run, from the present folder.
        train: rows that it learned from, in the same form, if the report asks for them.
    """

    estimator: Any
    held_out: Any
    results: Mapping[str, Any]
    path: str = "RUN"
    train: Any = None

    template: ClassVar[str] = "report.html.j2"
    of_what: ClassVar[str] = ""
    """How the name of the model goes on, such as " of texts"."""
    row: ClassVar[str] = "row"
    """What a row is called."""
    most: ClassVar[int] = 500
    """How many held-out rows the report asks for."""
    learned: ClassVar[int] = 0
    """How many training rows the report asks for."""

    def contents(self) -> dict[str, Any]:
        """The values that the template shows beyond those of every page, by name."""
        raise NotImplementedError

    def privacy(self, contents: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the contents that say whether the model gives training rows away, as plain values: the run keeps them."""
        return {}

    def about(self) -> dict[str, Any]:
        """Say in words what was trained on what."""
        what = "variational autoencoder" if self.estimator.model_.latent_dim else "language model"
        model = f"{'conditional ' if self.conditions else ''}{what}{self.of_what}"
        return {
            "model": model[0].upper() + model[1:],
            "rows": f"{self.estimator.data_['rows']:,} {self.kind.in_words}",
            "row": self.row,
            "given": [in_words(name, condition) for name, condition in self.conditions.items()],
            "shown": f"{len(self.held_out):,} {self.row}s",
        }

    def commands(self) -> list[tuple[str, str]]:
        """(what it does, the command), ready to paste into a shell in the present folder."""
        run, source, ending = self.run, self.source, self.kind.endings[0]
        a, b = (shlex.quote(f"{self.raw_source}[{i}]") for i in (0, 1))
        known = [shlex.quote(f"{n}={c.classes[0]}") for n, c in self.conditions.items() if isinstance(c, Label)]
        new, one = (f" -c {known[0]}", ", of one class") if known else ("", "")
        return [
            (f"Draw new rows{one}", f"vaekit sample {run} -n 64{new} -o samples{ending}"),
            ("Turn rows into latent codes", f"vaekit encode {run} {source} -o codes.csv"),
            (
                "Pass rows through the latent and back",
                f"vaekit reconstruct {run} {source} -o reconstructions{ending}",
            ),
            ("Walk from one row to another", f"vaekit interpolate {run} {a} {b} -o path{ending}"),
            ("Find odd rows: those with the lowest score", f"vaekit score {run} {source} -o scores.csv"),
            ("Measure the model with more samples", f"vaekit evaluate {run} --k 5000"),
            ("Go on in Python", f"import vaekit; model = vaekit.load({self.path!r})"),
        ]

    @property
    def run(self) -> str:
        return shlex.quote(self.path)

    @property
    def raw_source(self) -> str:
        return str(self.estimator.data_.get("source") or "SOURCE")

    @property
    def source(self) -> str:
        return shlex.quote(self.raw_source)

    @property
    def kind(self) -> Any:
        return self.estimator.kind_

    # -- single rows ---------------------------------------------------------------------------------------------------

    @property
    def conditions(self) -> dict[str, Condition]:
        """The model's conditions, by name."""
        return self.estimator.conditions_.named

    @cached_property
    def shown(self) -> Any:
        """The held-out rows in another order, since neighbours are often alike, and no more than are shown."""
        return self.held_out[np.random.default_rng(0).permutation(len(self.held_out))[:ROWS]]

    @property
    def x(self) -> Any:
        return self.shown.x

    @property
    def y(self) -> dict[str, np.ndarray]:
        """The known values of the rows, which may be more than the model's conditions."""
        return self.shown.conditions

    @cached_property
    def known(self) -> dict[str, Condition]:
        """Everything that is known about the rows; the model's conditions come first."""
        rest = {name: values for name, values in self.y.items() if name not in self.conditions}
        return {name: c for name, c in self.conditions.items() if name in self.y} | Conditions.infer(rest).named

    def packed(self, name: str) -> np.ndarray:
        """A condition: the codes (N,) of a label, -1 for unknown; or the first of its numbers (N,), NaN for unknown."""
        return numbers_of(name, self.known[name], self.y[name])

    def given(self, rows: Any = slice(None)) -> dict[str, np.ndarray] | None:
        """The model's conditions of these rows."""
        return {name: self.y[name][rows] for name in self.conditions if name in self.y} or None

    @cached_property
    def codes(self) -> np.ndarray:
        """Posterior means (N, latent_dim)."""
        return self.estimator.transform(self.x, self.given())

    def spread(self) -> np.ndarray:
        """The spread of each latent unit over the rows, which shows the active ones: (latent_dim,)."""
        return self.codes.var(0)

    def reconstructed(self, n: int) -> Any:
        """The first n rows by way of their codes."""
        return self.estimator.reconstruct(self.x[:n], self.given(slice(n)))

    @cached_property
    def groups(self) -> list[Group]:
        """Groups of conditions to show samples of: a name, what all of the group share, and its rows.

        There is one for each class of the first label the model is conditioned on; else for some quantiles of the first number.
        """
        for name, condition in self.conditions.items():
            if isinstance(condition, Label):
                codes = self.packed(name) if name in self.y else np.empty(0)
                classes = condition.classes[:CLASSES]
                return [(f"{name} {c}", {name: c}, np.flatnonzero(codes == i)) for i, c in enumerate(classes)]
        for name in self.conditions:
            if name in self.y:
                values = self.packed(name)
                order = np.argsort(values)[: np.isfinite(values).sum()]
                places = np.unique((np.linspace(0.02, 0.98, 6) * (len(order) - 1)).round().clip(0).astype(int))
                return [(f"{name} {number(values[row])}", {}, np.array([row])) for row in order[places[: len(order)]]]
        return []

    def conditions_of(self, group: Group, n: int) -> dict[str, np.ndarray]:
        """Take n conditions of a group: those of its rows in turn, or only what it shares if it has no rows."""
        _, shared, rows = group
        if len(rows):
            return self.given(np.resize(rows, n)) or {}
        return {name: np.array([value] * n, dtype=object) for name, value in shared.items()}

    def traversed(self, steps: int) -> tuple[str | None, list[tuple[int, str, Any]]]:
        """The rows along the units with the most KL: each goes from -3 to 3 deviations of the codes, the others stay at their mean.

        Returns the name of the group whose condition is held, and for each unit its number, its KL in words and `steps` rows.
        """
        kl = np.asarray(self.results["kl_per_unit"] or self.codes.var(0))
        group = next(iter(self.groups), None)
        y = self.conditions_of((*group[:2], group[2][:1]), steps) if group else None
        codes = self.codes[group[2]] if group and len(group[2]) > 1 else self.codes
        found = []
        for unit in np.argsort(-kl)[:UNITS].tolist():
            z = np.tile(codes.mean(0), (steps, 1))
            z[:, unit] += np.linspace(-REACH, REACH, steps) * codes[:, unit].std()
            found.append((unit, nats(kl[unit]), self.estimator.inverse_transform(z, y)))
        return group and group[0], found


def numbers_of(name: str, condition: Condition, values: Any) -> np.ndarray:
    """Values (N, ...) of a condition: the codes (N,) of a label, -1 for unknown; or the first of its numbers (N,), NaN for unknown."""
    packed = condition.pack(name, values)
    return packed[:, 0] * condition.scale[0] + condition.mean[0] if isinstance(condition, Number) else packed


def in_words(name: str, condition: Condition) -> str:
    """A condition in words."""
    if isinstance(condition, Label):
        return f"{name} ({condition.size} classes)"
    return name if condition.size == 1 else f"{name} ({condition.size} numbers)"
