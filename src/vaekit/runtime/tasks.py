"""What an exported model does, as tasks. A task is a generator: it yields the name of a graph with its inputs, and is sent the outputs.

`Runtime` finishes one task after the other. A service moves many forward at once, and what they ask of the same graph goes through it
together.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.forms import open_form
from vaekit.forms.base import as_numbers
from vaekit.forms.conditions import FAR, KINDS, Known, Label, Picture, Seen, per_row
from vaekit.runtime.folder import AGAIN, ROWS, Folder
from vaekit.uses.conformal import p_values
from vaekit.uses.paths import PATHS

GUESSES = 100  # draws whose mean, or commonest class, is the best guess of a gap

Codes = dict[str, np.ndarray]
Ask = tuple[str, dict[str, np.ndarray]]
Task = Generator[Ask, Codes, Any]


class Tasks:
    """The tasks of a model. Arguments and results are those of the methods of `vaekit.runtime.Runtime` that have the same names.

    Attributes:
        about: what model.json says. latent_dim: number of latent units.
        form: how rows become what the model sees. conditions: what y may be.
    """

    def __init__(self, folder: Folder):
        self.folder, self.about = folder, folder.about
        self.form = open_form(self.about["form"])
        self.latent_dim: int = self.about["latent_dim"]
        try:
            self.conditions = known(self.about["conditions"], self.about.get("seen"))
        except (KeyError, TypeError) as e:
            raise UserError(f"model.json describes conditions that cannot be read ({e}): {AGAIN}") from e

    def can(self, graph: str) -> bool:
        """Whether the model has this graph."""
        return f"{graph}.onnx" in self.about["files"]

    @property
    def gaps(self) -> bool:
        """Whether rows may have gaps. A model that was trained on rows without any has no place for them."""
        return self.can("encoder") and "mask" in self.folder.inputs("encoder")

    @property
    def predicts(self) -> bool:
        """Whether it is a model of few labels."""
        return self.can("predict")

    @property
    def target(self) -> Any:
        """The condition that a model of few labels predicts."""
        return next(iter(self.conditions.named.values()))

    @cached_property
    def calibration(self) -> np.ndarray | None:
        """Scores (n,) of rows known to be normal."""
        return self.folder.array("calibration.npy")

    # -- rows and codes ------------------------------------------------------------------------------------------------

    def sample(self, n: int, y: Any = None, *, temperature: float = 1.0, seed: int = 0, first: int = 0) -> Task:
        check_whole("n", n, 1)
        check_whole("seed", seed, 0)
        if isinstance(temperature, str) or not 0 <= temperature < np.inf:
            raise UserError(f"temperature is {temperature!r}: it has to be a number, 0 or more")
        if first % ROWS:
            raise UserError(f"first is {first}: it has to be a multiple of {ROWS}")
        given = self.conditions.name(y)
        self.conditions.codes(given, n)  # which checks them
        given = {name: per_row(self.conditions.named[name], values, n) for name, values in given.items()}
        drawn = []
        for start in range(0, n, ROWS):
            own = {name: values[start : start + ROWS] for name, values in given.items()}
            address = seed, (first + start) // ROWS
            drawn.append((yield from self._draw(min(ROWS, n - start), own, temperature, address)))
        x, filled = zip(*drawn, strict=True)
        known = {name: np.concatenate([each[name] for each in filled]) for name in filled[0]}
        return self.form.with_conditions(self.form.unpack(np.concatenate(x)), known)

    def _draw(self, n: int, y: Mapping[str, Any], temperature: float, address: tuple[int, int]) -> Task:
        """Packed rows (n, *event), and their conditions. address: a seed, and which piece of the rows of this seed they are."""
        seed, piece = address
        shown = "decoder" if self.about.get("mean_samples", True) else "draw"
        given = self.conditions.fill(y, n, np.random.default_rng([seed, 0, piece]))
        codes = self._conditions(given, n)

        def ask(graph: str, i: int, temperature: float, **inputs: np.ndarray) -> Ask:
            random = np.random.default_rng([seed, i, piece])
            noise = random.standard_normal((n, self.folder.noise(graph)), dtype=np.float32)
            return self._ask(graph, codes, noise=noise, temperature=np.asarray(temperature), **inputs)

        of_tokens = "temperature" in self.folder.inputs(shown)
        z = np.zeros((n, 0))  # of a language model
        if self.latent_dim:
            z = (yield ask("prior", 1, 1.0 if of_tokens else temperature))["z"]
        return (yield ask(shown, 2, temperature, z=z))["x"], given

    def encode(self, X: Any, y: Any = None) -> Task:
        return (yield self._see("encoder", X, y))["z"]

    def decode(self, Z: Any, y: Any = None) -> Task:
        z = as_numbers(Z).astype(np.float32)
        if z.ndim != 2 or z.shape[1] != self.latent_dim or not len(z):
            raise UserError(f"latent codes have shape (N, {self.latent_dim}), N at least 1, got {z.shape}")
        if not np.isfinite(z).all():
            raise UserError("a latent code is not finite: leave that row out")
        found = yield self._ask("decoder", self._conditions(self.conditions.name(y), len(z)), z=z)
        return self.form.unpack(found["x"])

    def reconstruct(self, X: Any, y: Any = None) -> Task:
        y = yield from self._known_or_predicted(X, y)
        z = yield from self.encode(X, y)
        return self.form.rebuilt(X, (yield from self.decode(z, y)))

    def interpolate(self, X: Any, y: Any = None, *, steps: int = 9, path: str | None = None) -> Task:
        check_whole("steps", steps, 2)
        name = path or self.about.get("path", "linear")
        if name not in PATHS:
            raise UserError(f"path={name!r} is not one of the choices{near_matches(name, PATHS)}")
        ends = yield from self.encode(X, y)
        if len(ends) != 2:
            raise UserError(f"a path leads from one row to another: give 2 rows, got {len(ends)}")
        a, b = ends.astype(np.float64)
        return (yield from self.decode(PATHS[name](a, b, steps), y))

    # -- scores and gaps -----------------------------------------------------------------------------------------------

    def score(self, X: Any, y: Any = None) -> Task:
        return (yield self._see("score", X, y, whole=not self.predicts))["score"]

    def p_values(self, X: Any, y: Any = None) -> Task:
        return (yield from self.rate(X, y))[1]

    def rate(self, X: Any, y: Any = None) -> Task:
        """Scores (N,), and their p-values (N,)."""
        if self.calibration is None:
            raise UserError(
                "there are no p-values: no normal rows were at hand as the model was exported, and series have none"
            )
        scores = yield from self.score(X, y)
        return scores, p_values(scores, self.calibration)

    def impute(self, X: Any, y: Any = None, *, draws: int | None = None, seed: int = 0) -> Task:
        if draws is not None:
            check_whole("draws", draws, 1)
        check_whole("seed", seed, 0)
        y = yield from self._known_or_predicted(X, y)
        x, mask = self._pack(X)
        codes = self._conditions(self.conditions.name(y), len(x))
        found = np.tile(x, (draws or 1, *[1] * x.ndim))
        if mask is not None:
            gappy, k = np.flatnonzero(~mask.reshape(len(mask), -1).all(1)), draws or GUESSES
            at_once = max(1, min(self.folder.rows("complete"), ROWS // k))
            # A best guess follows from its row alone; draws differ among rows that are the same.
            address = np.stack([np.full(len(x), seed), np.arange(len(x)) * (draws is not None)], 1)
            first, each = self.folder.noise("complete"), self.folder.noise("complete", "draws")
            for start in range(0, len(gappy), at_once):
                some = gappy[start : start + at_once]
                own = {name: values[some] for name, values in codes.items()}
                random = own_noise([x[some], mask[some], *own.values(), address[some]], first + k * each)
                again = random[:, first:].reshape(len(some), k, each)
                ask = self._ask("complete", own, x=x[some], mask=mask[some], noise=random[:, :first], draws=again)
                drawn = (yield ask)["filled"]
                found[:, some] = drawn if draws else self.form.center(drawn)[None]
        filled = [self.form.fill(X, rows) for rows in found]
        return filled if draws else filled[0]

    # -- labels --------------------------------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> Task:
        found = (yield self._see("predict", X, None))["y"]
        if not isinstance(self.target, Label):
            raise UserError("this model predicts numbers, which have no probabilities: use predict")
        return found

    def predict(self, X: Any) -> Task:
        found = (yield self._see("predict", X, None))["y"]
        if isinstance(self.target, Label):
            return np.array(self.target.classes)[found.argmax(1)]
        values = found * np.asarray(self.target.scale) + np.asarray(self.target.mean)
        return values[:, 0] if values.shape[1] == 1 else values

    # -- between rows and graphs ---------------------------------------------------------------------------------------

    def _known_or_predicted(self, X: Any, y: Any) -> Task:
        """y, predicted where it is unknown, if the model can."""
        if not self.predicts:
            return y
        name, given = next(iter(self.conditions.named)), self.conditions.name(y)
        predicted = yield from self.predict(X)
        values = given.get(name)
        return {name: self.target.filled(name, np.broadcast_to(np.array(values, object), predicted.shape), predicted)}

    def _pack(self, X: Any) -> tuple[np.ndarray, np.ndarray | None]:
        x, mask = self.form.pack(X)
        if not len(x):
            raise UserError("X has no rows: give at least one")
        far = ~(np.abs(x) <= FAR)
        if (rows := np.flatnonzero(far.reshape(len(x), -1).any(1))).size:
            raise UserError(
                f"row {rows[0]} holds a value that is too large to compute with: correct it, or leave the row out"
            )
        return x, mask

    def _conditions(self, y: Mapping[str, Any], rows: int) -> Codes:
        """Conditions by name -> all inputs that are conditions, by the names that graphs have for them."""
        codes = self.conditions.codes(y, rows)
        for name, c in self.conditions.named.items():
            if not self.about.get("unknown", True) and (
                name not in codes or (codes[name].dtype.kind == "f" and np.isnan(codes[name]).any())
            ):
                raise UserError(f"this model needs condition {name!r}: give y={{{name!r}: ...}}, one for each row")
            if name not in codes and not isinstance(c, Picture):
                unknown = np.nan if c.kind == "number" else -1
                codes[name] = np.full((rows, c.size) if c.kind == "number" else rows, unknown)
        return {f"y.{name}": values for name, values in codes.items()}

    def _see(self, graph: str, X: Any, y: Any, *, whole: bool = False) -> Ask:
        """Ask a graph about rows X. whole: UserError if a condition is unknown."""
        inputs = self.folder.inputs(graph)
        x, mask = self._pack(X)
        codes = self._conditions(self.conditions.name(y), len(x))
        for name, values in codes.items() if whole else ():
            if (np.isnan(values) if values.dtype.kind == "f" else values < 0).any():
                raise UserError(f"a score needs condition {name[2:]!r} of every row: give it, or use `vaekit score`")
        if mask is not None and "mask" not in inputs and not self.form.pads:
            row = int(np.flatnonzero(~mask.reshape(len(mask), -1).all(1))[0])
            raise UserError(
                f"row {row} has a missing value, and the model was trained on rows without any: fill it first"
            )
        there = np.ones(x.shape, dtype=bool) if mask is None else mask
        return self._ask(
            graph, codes, x=x, mask=there, noise=own_noise([x, there, *codes.values()], self.folder.noise(graph))
        )

    def _ask(self, graph: str, codes: Codes, **given: np.ndarray) -> Ask:
        for name in self.folder.inputs(graph):
            if name.startswith("y.") and name not in codes:
                raise UserError(
                    f"condition {name[2:]!r} is a picture, which cannot be unknown: give y={{{name[2:]!r}: ...}}"
                )
        return graph, {**codes, **given}


def open_folder(folder: str | os.PathLike[str], threads: int = 1) -> Tasks:
    """The tasks of an exported model. All its graphs are read and checked now, and not when they are first used."""
    tasks = Tasks(Folder(folder, threads))
    for graph in tasks.about["graphs"]:
        tasks.folder.session(graph)
    return tasks


def check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UserError(f"{name} is {value!r}: it has to be a whole number of at least {least}")


def known(conditions: list[dict[str, Any]], seen: Mapping[str, Any] | None) -> Known:
    """The conditions that model.json describes."""
    needed = {"label": ("classes",), "number": ("mean", "scale"), "picture": ("height", "width")}
    named = {c["name"]: KINDS[c["kind"]](*(c[name] for name in needed[c["kind"]])) for c in conditions}
    return Known(named, Seen(seen["values"], seen["counts"]) if seen else None)


def own_noise(given: list[np.ndarray], n: int) -> np.ndarray:
    """Standard Normal numbers (N, n) for rows of which all that is known is given, each (N, ...): they follow from the row alone, so a
    row's score does not depend on those beside it."""
    noise = np.empty((len(given[0]), n), dtype=np.float32)
    for i in range(len(noise) if n else 0):
        own = hashlib.blake2b(b"".join(values[i].tobytes() for values in given), digest_size=8)
        noise[i] = np.random.default_rng(int.from_bytes(own.digest(), "little")).standard_normal(n)
    return noise
