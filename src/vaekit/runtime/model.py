"""An exported model at work, with NumPy in and out, in people's form."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from vaekit.robots.onnx_policy import OnnxPolicy
from vaekit.runtime.folder import Folder
from vaekit.runtime.tasks import Task, Tasks


def load(folder: str | os.PathLike[str], *, threads: int = 1) -> Runtime:
    """Open an exported model.

    Args:
        folder: that `vaekit export RUN -o FOLDER` wrote.
        threads: threads of its graphs.

    Returns:
        A `Runtime`.

    Raises:
        UserError: there is no model in it, it has a newer format, or it is damaged.

    Example:
        >>> vaekit.runtime.load("no-such-folder")
        Traceback (most recent call last):
        vaekit.errors.UserError: ...
    """
    return Runtime(Folder(folder, threads))


class Runtime:
    """An exported model: it samples, encodes, decodes, reconstructs, scores, fills gaps, predicts and acts.

    It needs only NumPy and onnxruntime. Its random numbers are NumPy's, so it draws other rows than the estimator that it was, from
    the same distribution. A method raises UserError if the export left out its graph.

    Args:
        folder: the folder of the model.

    Attributes:
        tasks: what it does, step by step. about: the content of model.json. latent_dim: number of latent units.
        notes: what the export left out, a sentence each.

    Example:
        >>> from vaekit.deploy.export import export
        >>> notes = export(vae, "exported", only=["prior", "decoder", "draw"])
        >>> model = vaekit.runtime.load("exported")
        >>> model.sample(4).shape, model.decode(np.zeros((5, 2))).shape
        ((4, 3), (5, 3))
    """

    def __init__(self, folder: Folder):
        self.folder, self.about, self.notes = folder, folder.about, folder.notes
        self.tasks = Tasks(folder)
        self.latent_dim = self.tasks.latent_dim

    def __repr__(self) -> str:
        return f"Runtime({str(self.folder.path)!r}: {self.about.get('noun', 'rows')}, {self.latent_dim} latent units)"

    # -- rows and codes ------------------------------------------------------------------------------------------------

    def sample(self, n: int, y: Any = None, *, temperature: float = 1.0, seed: int = 0, first: int = 0) -> Any:
        """Draw n new rows.

        Args:
            y: conditions, one for all rows or one per row; what is unknown is drawn as training rows had it.
            temperature: multiplies the spread of z; for texts that of each token, and 0 takes the likeliest.
            seed: a row follows from it and from the row's number.
            first: the number of the first row, a multiple of 1024: rows that are drawn in several calls are those that one call draws.
        """
        return self._finish(self.tasks.sample(n, y, temperature=temperature, seed=seed, first=first))

    def encode(self, X: Any, y: Any = None) -> np.ndarray:
        """Encode rows X: their posterior means, (N, latent_dim)."""
        return self._finish(self.tasks.encode(X, y))

    def decode(self, Z: Any, y: Any = None) -> Any:
        """Decode latent codes (N, latent_dim) to rows: the decoder's means, or what is shown in their place."""
        return self._finish(self.tasks.decode(Z, y))

    def reconstruct(self, X: Any, y: Any = None) -> Any:
        """Encode and decode rows."""
        return self._finish(self.tasks.reconstruct(X, y))

    def interpolate(self, X: Any, y: Any = None, *, steps: int = 9, path: str | None = None) -> Any:
        """Walk through the latent space from the first of two rows X to the second, both included: `steps` rows.

        path: "linear" or "spherical"; None: what suits the kind of data.
        """
        return self._finish(self.tasks.interpolate(X, y, steps=steps, path=path))

    # -- scores and gaps -----------------------------------------------------------------------------------------------

    def score(self, X: Any, y: Any = None) -> np.ndarray:
        """The score of each row, (N,), high for what is normal. It does not depend on the rows beside it."""
        return self._finish(self.tasks.score(X, y))

    def p_values(self, X: Any, y: Any = None) -> np.ndarray:
        """The conformal p-value of each row, (N,), low for what is odd: see `vaekit.uses.conformal.p_values`."""
        return self._finish(self.tasks.p_values(X, y))

    def rate(self, X: Any, y: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """The score of each row, (N,), and its p-value, (N,)."""
        return self._finish(self.tasks.rate(X, y))

    @property
    def calibration(self) -> np.ndarray | None:
        """Scores (n,) of rows known to be normal; None if the model has none."""
        return self.tasks.calibration

    def impute(self, X: Any, y: Any = None, *, draws: int | None = None, seed: int = 0) -> Any:
        """Fill the gaps of rows.

        Args:
            draws: number of sets of filled rows to draw given the known cells, for a list of them. None: one set of best guesses,
                the mean of numbers and the commonest class.
        """
        return self._finish(self.tasks.impute(X, y, draws=draws, seed=seed))

    # -- labels and actions --------------------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (N, classes). For a model that was trained with few labels."""
        return self._finish(self.tasks.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each row (N,), or the mean of its numbers (N,) or (N, size)."""
        return self._finish(self.tasks.predict(X))

    @cached_property
    def policy(self) -> OnnxPolicy:
        """The policy of a robot. UserError if the model is not a policy."""
        return self.folder.policy()

    def reset(self, seed: int | None = None, *, z: Any = None) -> None:
        """Begin an episode: see `vaekit.robots.actor.Actor.reset`."""
        self.policy.reset(seed, z=z)

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The action for now: see `vaekit.robots.actor.Actor.act`."""
        return self.policy.act(observation)

    def _finish(self, task: Task) -> Any:
        try:
            ask = next(task)
            while True:
                ask = task.send(self.folder.run(*ask))
        except StopIteration as end:
            return end.value
