"""What an exported model does, with NumPy in and out, in people's form."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.forms import open_form
from vaekit.forms.base import as_numbers
from vaekit.forms.conditions import FAR, KINDS, Known, Label, Picture, Seen
from vaekit.robots.onnx_policy import OnnxPolicy
from vaekit.runtime.folder import AGAIN, ROWS, Folder
from vaekit.uses.conformal import p_values

GUESSES = 100  # draws whose mean, or commonest class, is the best guess of a gap

Codes = dict[str, np.ndarray]


def load(folder: str | os.PathLike[str], *, threads: int = 1) -> Runtime:
    """Open an exported model.

    Args:
        folder: that `vaekit export` wrote. threads: of its graphs.

    Raises:
        UserError: there is no model in it, it is of a newer format, or it is damaged.
    """
    return Runtime(Folder(folder, threads))


class Runtime:
    """An exported model: it samples, encodes, decodes, reconstructs, scores, fills gaps, predicts and acts.

    Its random numbers are NumPy's, so it draws other rows than the estimator that it was, from the same distribution.

    Args:
        folder: of the model.

    Attributes:
        about: what model.json says. latent_dim: number of latent units. notes: what the export left out, a sentence each.
        form: how rows become what the model sees. conditions: what y may be.
    """

    def __init__(self, folder: Folder):
        self.folder, self.about = folder, folder.about
        self.form = open_form(self.about["form"])
        self.latent_dim: int = self.about["latent_dim"]
        self.notes = folder.notes
        try:
            self.conditions = known(self.about["conditions"], self.about.get("seen"))
        except (KeyError, TypeError) as e:
            raise UserError(f"model.json describes conditions that cannot be read ({e}): {AGAIN}") from e

    def __repr__(self) -> str:
        return f"Runtime({str(self.folder.path)!r}: {self.about.get('noun', 'rows')}, {self.latent_dim} latent units)"

    # -- rows and codes ------------------------------------------------------------------------------------------------

    def sample(self, n: int, y: Any = None, *, temperature: float = 1.0, seed: int = 0) -> Any:
        """n new rows.

        Args:
            y: conditions, one for all rows or one a row; what is unknown is drawn as training rows had it.
            temperature: multiplies the spread of z; in texts of each token, and 0 takes the likeliest.
        """
        check_whole("n", n, 1)
        check_whole("seed", seed, 0)
        if isinstance(temperature, str) or not 0 <= temperature < np.inf:
            raise UserError(f"temperature is {temperature!r}: it has to be a number, 0 or more")
        shown = "decoder" if self.about.get("mean_samples", True) else "draw"
        given = self.conditions.fill(self.conditions.name(y), n, np.random.default_rng([seed, 0]))
        codes = self._conditions(given, n)

        def run(graph: str, i: int, temperature: float, **inputs: np.ndarray) -> np.ndarray:
            numbers = np.random.default_rng([seed, i]).standard_normal((n, self.folder.noise(graph)), dtype=np.float32)
            found = self._run(graph, codes, noise=numbers, temperature=np.asarray(temperature), **inputs)
            return found["z" if graph == "prior" else "x"]

        of_tokens = "temperature" in self.folder.inputs(shown)
        z = np.zeros((n, 0))  # of a language model
        if self.latent_dim:
            z = run("prior", 1, 1.0 if of_tokens else temperature)
        x = run(shown, 2, temperature, z=z)
        return self.form.with_conditions(self.form.unpack(x), given)

    def encode(self, X: Any, y: Any = None) -> np.ndarray:
        """The posterior means of rows X, (N, latent_dim)."""
        return self._see("encoder", X, y)["z"]

    def decode(self, Z: Any, y: Any = None) -> Any:
        """Latent codes (N, latent_dim) -> rows: the decoder's means, or what is shown in their place."""
        z = as_numbers(Z).astype(np.float32)
        if z.ndim != 2 or z.shape[1] != self.latent_dim or not len(z):
            raise UserError(f"latent codes have shape (N, {self.latent_dim}), N at least 1, got {z.shape}")
        if not np.isfinite(z).all():
            raise UserError("a latent code is not finite: leave that row out")
        return self.form.unpack(self._run("decoder", self._conditions(self.conditions.name(y), len(z)), z=z)["x"])

    def reconstruct(self, X: Any, y: Any = None) -> Any:
        """Rows by way of their latent codes."""
        y = self._known_or_predicted(X, y)
        return self.form.rebuilt(X, self.decode(self.encode(X, y), y))

    # -- scores and gaps -----------------------------------------------------------------------------------------------

    def score(self, X: Any, y: Any = None) -> np.ndarray:
        """The score of each row, (N,), high for what is normal. It does not depend on the rows beside it."""
        return self._see("score", X, y, whole="predict.onnx" not in self.about["files"])["score"]

    def p_values(self, X: Any, y: Any = None) -> np.ndarray:
        """The conformal p-value of each row, (N,), low for what is odd: see `vaekit.uses.conformal.p_values`."""
        if self.calibration is None:
            raise UserError(
                "there are no p-values: no normal rows were at hand as the model was exported, and series have none"
            )
        return p_values(self.score(X, y), self.calibration)

    @cached_property
    def calibration(self) -> np.ndarray | None:
        """Scores (n,) of rows known to be normal."""
        return self.folder.array("calibration.npy")

    def impute(self, X: Any, y: Any = None, *, draws: int | None = None, seed: int = 0) -> Any:
        """Fill the gaps of rows.

        Args:
            draws: how many sets of filled rows to draw from what the gaps may hold given the rest, for a list of them. None: one set
                of best guesses, the mean of numbers and the commonest class.
        """
        if draws is not None:
            check_whole("draws", draws, 1)
        check_whole("seed", seed, 0)
        y = self._known_or_predicted(X, y)
        x, mask = self._pack(X)
        codes = self._conditions(self.conditions.name(y), len(x))
        found = np.tile(x, (draws or 1, *[1] * x.ndim))
        if mask is not None:
            gappy, k = np.flatnonzero(~mask.reshape(len(mask), -1).all(1)), draws or GUESSES
            at_once = max(1, min(self.folder.rows("complete"), ROWS // k))
            for start in range(0, len(gappy), at_once):
                some, random = gappy[start : start + at_once], np.random.default_rng([seed, start])
                noise, again = (
                    random.standard_normal((len(some), *each, self.folder.noise("complete", name)), dtype=np.float32)
                    for name, each in (("noise", ()), ("draws", (k,)))
                )
                own = {name: values[some] for name, values in codes.items()}
                drawn = self._run("complete", own, x=x[some], mask=mask[some], noise=noise, draws=again)["filled"]
                found[:, some] = drawn if draws else self.form.center(drawn)[None]
        filled = [self.form.fill(X, each) for each in found]
        return filled if draws else filled[0]

    # -- labels and actions --------------------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (N, classes), of a model that was trained with few labels."""
        found = self._see("predict", X, None)["y"]
        if not isinstance(self.target, Label):
            raise UserError("this model predicts numbers, which have no probabilities: use predict")
        return found

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row (N,), or the mean of its numbers (N,) or (N, size)."""
        found = self._see("predict", X, None)["y"]
        if isinstance(self.target, Label):
            return np.array(self.target.classes)[found.argmax(1)]
        values = found * np.asarray(self.target.scale) + np.asarray(self.target.mean)
        return values[:, 0] if values.shape[1] == 1 else values

    @property
    def target(self) -> Any:
        """The condition that a model of few labels predicts."""
        return next(iter(self.conditions.named.values()))

    def _known_or_predicted(self, X: Any, y: Any) -> Any:
        """y, predicted where it is unknown, if the model can."""
        if "predict.onnx" not in self.about["files"]:
            return y
        name, given = next(iter(self.conditions.named)), self.conditions.name(y)
        predicted = self.predict(X)
        values = given.get(name)
        return {name: self.target.filled(name, np.broadcast_to(np.array(values, object), predicted.shape), predicted)}

    @cached_property
    def policy(self) -> OnnxPolicy:
        """The policy, which acts. UserError if this is none."""
        if "policy.onnx" not in self.about["files"]:
            raise self.folder.lacks("policy")
        return OnnxPolicy(self.folder.file("policy.onnx"), threads=self.folder.threads)

    def reset(self, seed: int | None = None, *, z: Any = None) -> None:
        """Begin an episode: see `vaekit.robots.actor.Actor.reset`."""
        self.policy.reset(seed, z=z)

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The action for now: see `vaekit.robots.actor.Actor.act`."""
        return self.policy.act(observation)

    # -- between rows and graphs ---------------------------------------------------------------------------------------

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

    def _see(self, graph: str, X: Any, y: Any, *, whole: bool = False) -> dict[str, np.ndarray]:
        """Run a graph on rows X. whole: UserError if a condition is unknown."""
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
        return self._run(
            graph, codes, x=x, mask=there, noise=own_noise([x, there, *codes.values()], self.folder.noise(graph))
        )

    def _run(self, graph: str, codes: Codes, **given: np.ndarray) -> dict[str, np.ndarray]:
        for name in self.folder.inputs(graph):
            if name.startswith("y.") and name not in codes:
                raise UserError(
                    f"condition {name[2:]!r} is a picture, which cannot be unknown: give y={{{name[2:]!r}: ...}}"
                )
        return self.folder.run(graph, {**codes, **given})


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
