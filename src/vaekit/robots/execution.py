"""From predicted chunks of actions to the action of each step. Needs only NumPy: it runs on the robot.

A chunk is (S, A), the actions of this step and the S - 1 after it, or (B, S, A) for B robots at once:

    execution.reset()
    while running:
        if execution.wants_chunk():
            execution.add(predict(observe()))
        act(execution.next())
"""

from __future__ import annotations

import math

import numpy as np


class TemporalEnsemble:
    """Play the weighted mean of all predictions for a step. It wants a chunk at each step.

    Prediction i, counted from the oldest that covers the step, weighs exp(-coefficient * i).

    Args:
        coefficient: m; 0 for the plain mean, negative to trust new predictions more than old ones.

    Raises:
        ValueError: the coefficient is not a number from -700 to 700.

    Source: ACT, Zhao et al. 2023, arXiv 2304.13705.

    Example:
        >>> from vaekit.robots.execution import TemporalEnsemble
        >>> player = TemporalEnsemble(0.0)
        >>> player.add(np.array([[0.0], [0.0]]))
        >>> player.next()
        array([0.])
        >>> player.add(np.array([[1.0], [1.0]]))
        >>> player.next()  # the mean of two predictions
        array([0.5])
    """

    def __init__(self, coefficient: float = 0.01):
        if not abs(coefficient) <= 700:  # exp of more overflows float64; NaN is refused, too
            raise ValueError(f"coefficient is {coefficient}: give a number from -700 to 700, such as 0.01")
        self.coefficient = coefficient
        self.reset()

    def reset(self) -> None:
        """Forget all predictions: a new episode begins."""
        self.mean: np.ndarray | None = None  # (S, A) or (S, B, A), from this step on

    def wants_chunk(self) -> bool:
        """Whether a chunk has to be added before the next action: always."""
        return True

    def add(self, chunk: np.ndarray) -> None:
        """Add the chunk predicted at this step; its shape stays the same until `reset`."""
        chunk = steps_first(chunk)
        if self.mean is None:
            self.mean, self.total = np.zeros(chunk.shape), np.zeros(len(chunk))
            self.dtype = np.result_type(chunk, np.float32)
        if chunk.shape != self.mean.shape:
            raise ValueError(
                f"a chunk {chunk.shape} follows chunks {self.mean.shape} (steps first): reset() before another shape"
            )
        # The weights so far, over the newest one: 1, 1 + e^m, 1 + e^m + e^2m, ... Unlike the weights themselves, they
        # need not be kept; where they overflow, the newest weighs nothing.
        with np.errstate(over="ignore"):
            self.total = 1 + math.exp(self.coefficient) * self.total  # (S,)
        self.mean += (chunk - self.mean) / self.total.reshape(-1, *[1] * (chunk.ndim - 1))

    def next(self) -> np.ndarray:
        """The action of this step, (A,) or (B, A); the next call is for the next step."""
        if self.mean is None or self.total[0] == 0:
            raise ValueError("no chunk covers this step: call add(chunk) before next()")
        action = self.mean[0].astype(self.dtype)
        self.mean, self.total = (np.concatenate([a[1:], np.zeros_like(a[:1])]) for a in (self.mean, self.total))
        return action


class ExecuteK:
    """Play the first k actions of a chunk, then want a new one; k = 1 is closed loop.

    Args:
        k: 1 or more.

    Raises:
        ValueError: k is below 1, or above the length of a chunk.

    Example:
        >>> from vaekit.robots.execution import ExecuteK
        >>> player = ExecuteK(2)
        >>> player.add(np.array([[1.0], [2.0], [3.0]]))
        >>> player.next(), player.next(), player.wants_chunk()
        (array([1.]), array([2.]), True)
    """

    def __init__(self, k: int):
        if k < 1:
            raise ValueError(f"k is {k}: give the number of actions to play of each chunk, 1 or more")
        self.k = k
        self.reset()

    def reset(self) -> None:
        """Forget the chunk: a new episode begins."""
        self.actions: list[np.ndarray] = []  # still to be played

    def wants_chunk(self) -> bool:
        """Whether a chunk has to be added before the next action."""
        return not self.actions

    def add(self, chunk: np.ndarray) -> None:
        """Take the chunk predicted at this step in place of the actions left to play."""
        chunk = steps_first(chunk)
        check_k(self.k, len(chunk))
        self.actions = list(chunk[: self.k].copy())  # the predictor may write its next chunk to the same place

    def next(self) -> np.ndarray:
        """The action of this step, (A,) or (B, A); the next call is for the next step."""
        if not self.actions:
            raise ValueError("all actions are played: call add(chunk) where wants_chunk() says so")
        return self.actions.pop(0)


Execution = TemporalEnsemble | ExecuteK


def execution(text: str, chunk_size: int | None = None) -> Execution:
    """Make an execution from text: "ensemble", "ensemble:0.05" (the coefficient) or "5" (actions to play of each chunk).

    Raises:
        ValueError: the text is something else, or asks for more actions than `chunk_size`.

    Example:
        >>> from vaekit.robots.execution import execution
        >>> execution("5", chunk_size=8).k
        5
    """
    name, colon, number = text.strip().partition(":")
    try:
        if name == "ensemble":
            return TemporalEnsemble(float(number)) if colon else TemporalEnsemble()
        player = ExecuteK(int(text))
    except ValueError as e:
        raise ValueError(
            f"unknown execution {text!r}: give 'ensemble', 'ensemble:0.01' or a number of actions to play, such as '5'"
        ) from e
    if chunk_size is not None:
        check_k(player.k, chunk_size)
    return player


def check_k(k: int, chunk_size: int) -> None:
    if k > chunk_size:
        raise ValueError(f"cannot play {k} actions of a chunk of {chunk_size}: choose at most {chunk_size}")


def steps_first(chunk: np.ndarray) -> np.ndarray:
    """(S, A) as it is, (B, S, A) as (S, B, A)."""
    chunk = np.asarray(chunk)
    if chunk.ndim not in (2, 3) or not chunk.size:
        raise ValueError(f"a chunk has the shape {chunk.shape}: give (steps, actions) or (robots, steps, actions)")
    return chunk if chunk.ndim == 2 else chunk.swapaxes(0, 1)
