"""A VAE of windows of series: scores of time steps, reconstruction, imputation of gaps, new windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from vaekit.conditions import Conditions
from vaekit.distributions import LIKELIHOODS
from vaekit.errors import UserError
from vaekit.estimators.checks import PARTS, check_settings
from vaekit.estimators.vae import VAE
from vaekit.kinds.series import Series
from vaekit.settings.limits import LARGEST, Seed, Within, check_call
from vaekit.settings.options import MODEL, setting
from vaekit.settings.parts import Part
from vaekit.sources.series import TimeSeries, is_several, is_table, to_series
from vaekit.training import Data, Rows
from vaekit.training.data import SPLIT, generator
from vaekit.uses import steps


@dataclass(eq=False, repr=False, kw_only=True)
class SeriesVAE(VAE):
    """A VAE of all windows of one or several series: scores of time steps, gaps filled, new windows.

    X is an array (T,) or (T, channels), NaN where a value is missing; a DataFrame of pandas or polars or an Arrow table, with a column or
    index of time and columns of numbers, which is brought to equal steps (see `vaekit.sources.series`); or, for several series, a list
    of these or an array (series, T, channels). No window reaches from one series into the next.

    Args:
        window: time steps of a window. Series may be shorter, as long as one of them is longer.
        likelihood: "auto" is "autoregressive": Normal, with errors of neighbouring steps that are correlated as in the data. With
            the others, errors are independent.
        validation: share of the windows to hold out for choosing the best epoch: one stretch of time that no training window
            overlaps, since neighbouring windows are near-copies of each other. If less than half of the windows would be left to
            learn from, none are held out.
        latent_dim, size, ..., trainer: as for `VAE`. Networks are fully connected.

    Attributes:
        kind_: a `vaekit.kinds.series.Series`. The others are those of `VAE`.

    Example:
        >>> wave = np.sin(np.arange(60) / 3)
        >>> model = vaekit.SeriesVAE(window=8, epochs=1).fit(wave)
        >>> model.score_samples(wave).shape, model.sample(2).shape
        ((60,), (2, 8, 1))
    """

    latent_dim: int = 4
    window: Annotated[int, Within(2, LARGEST)] = setting(128, "Series: number of time steps in a window.", MODEL)
    size: str = "small"
    kind: Part = "series"

    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **PARTS,
        "structure": {"flat": PARTS["structure"]["flat"]},
        "prior": {name: PARTS["prior"][name] for name in ("standard", "mixture", "flow")},
    }

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: None = None) -> SeriesVAE:
        """Train on the windows of X. y is ignored.

        Raises:
            UserError: no series is longer than a window, or X is not a series.
        """
        return self.fit_data(to_series(X))

    def fit_data(  # type: ignore[override]
        self,
        data: TimeSeries,
        *,
        condition_kinds: Mapping[str, str] | None = None,
        folder: Path | None = None,
        resume: bool = False,
        origin: Mapping[str, Any] | None = None,
        watchers: Sequence[Any] = (),
    ) -> SeriesVAE:
        """Train on a TimeSeries that `read_series` returned. The options are those of `VAE.fit_rows`; condition_kinds is not used."""
        check_settings(self)
        longest = max(map(len, data.values))
        if longest <= self.window:
            raise UserError(
                f"the longest series has {longest} time steps, but a window of {self.window} needs more: use a smaller window"
            )
        with self._seeded() as (seed, notes):
            name, options = self._likelihood(Series, {}, data)
            if self._warm:
                kind = self.kind_
            else:
                kind = Series.infer(data.values, LIKELIHOODS[name].real_valued, data.columns, window=self.window)
            self.stretches_ = steps.stretches(data.values, self.window)
            windows = Data(*kind.pack(data.values))
            about = {**(origin or {}), "rows": len(windows), "steps": len(data)}
            self._assemble(kind, Conditions({}), (name, options), windows, seed=seed, notes=notes, origin=about)
            self._learn(windows, folder, resume, list(watchers))
        return self

    def held_out(self, data: TimeSeries, limit: int | None = None) -> TimeSeries:
        """The stretch of time that was held out of `data`, the training series; all of it if none was held out. It is one
        stretch, so `limit` does not apply."""
        ends = steps.stretches(data.values, self.kind_.window)
        _, valid = held_out_windows(ends, self.kind_.window, self.validation, self.seed_)
        if not len(valid):
            return data
        series = int(np.searchsorted(ends, int(valid[0]), side="right"))
        start, stop = (int(valid[i]) - (int(ends[series - 1]) if series else 0) for i in (0, -1))
        return TimeSeries([data.values[series][start : stop + self.kind_.window]], data.name, data.columns)

    def division(self, data: TimeSeries) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the windows that it learned from, and of those that were held out."""
        ends = steps.stretches(data.values, self.kind_.window)
        learned, held_out = held_out_windows(ends, self.kind_.window, self.validation, self.seed_)
        return learned.numpy(), held_out.numpy()

    def rows_of(self, data: TimeSeries, index: np.ndarray) -> tuple[Data, dict[str, Any]]:
        """See `VAE.rows_of`. For a window the begin is known, and which series it belongs to."""
        ends = steps.stretches(data.values, self.kind_.window)
        series = np.searchsorted(ends, index, side="right")
        known = {"step": (index - (ends - np.diff(ends, prepend=0))[series]).astype(float)}
        several = {"series": series.astype(str)} if len(ends) > 1 else {}
        return self.packed(data)[torch.from_numpy(index)], {**known, **several}

    def learned_from(self, data: TimeSeries, limit: int) -> TimeSeries:
        """All of `data`: what surrounds the stretch that was held out is not one series."""
        return data

    def fit_sampler(self, sampler: Part, X: Any, y: Any = None) -> SeriesVAE:
        """Learn where the codes of X's windows lie, for `sample(sampler=...)`; as for `VAE`."""
        self.stretches_ = steps.stretches(self._series(X).values, self.kind_.window)
        super().fit_sampler(sampler, X)
        return self

    def _split(self, data: Rows) -> tuple[Tensor, Tensor]:
        return held_out_windows(self.stretches_, self.kind_.window, self.validation, self.seed_)

    def _training_extras(self) -> dict[str, Any]:
        return {"cell_dropout": 0.0 if self.cell_dropout is None else self.cell_dropout}

    # -- using ---------------------------------------------------------------------------------------------------------

    def score_samples(
        self, X: Any, y: Any = None, *, k: int | None = None, by: str = "window", track: Any = list
    ) -> Any:
        """Score how likely each time step is, in nats; low means odd.

        Args:
            k: importance samples per window; 32 by default.
            by: "window": the mean of log p(window) / (steps of the window) over the windows that hold the step, later steps
                included. A monitor has no later steps: use "past", log p(window) / (its steps) of the window that ends here,
                which finds odd stretches; or "last", log p(step | the window - 1 steps before it), which finds single odd
                steps.

        Returns:
            (T,) float64; a list of them for several series; (rows,) for a table. NaN for a step whose values are all missing and, with
            "past", for the steps before the first full window. Neighbouring scores share data, so they are not exchangeable, and
            p-values from their ranks do not hold.
        """
        series = self._series(X)
        scores = steps.score_steps(self.fitted_, series.values, k=k, by=by, track=track)
        if series.steps is not None:
            return scores[0][series.steps]
        return scores if is_several(X) or len(scores) > 1 else scores[0]

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples` over the steps that have a score: nats per step, higher is better."""
        scores = self.score_samples(X)
        return float(np.nanmean(np.concatenate(scores) if isinstance(scores, list) else scores))

    def reconstruct(self, X: Any, y: Any = None, **options: Any) -> Any:
        """Encode and decode X by its windows: the mean over the windows that hold a step, in the shape of X.

        For a table the result is (steps, channels), with the steps that had no row.
        """
        series = self._series(X)
        return as_given(X, self.kind_.reconstruct(self.fitted_, series, **options))

    def impute(
        self, X: Any, y: Any = None, *, draws: int | None = None, random_state: Seed | None = None, track: Any = list
    ) -> Any:
        """Fill the gaps of X, in the shape of X. Known values stay as they are.

        For a table the result is (steps, channels), with the steps that had no row. A gap is filled from its beginning, half a window
        at a time, given the known and the filled values. Then known values are hidden in gaps of the same lengths and filled, and the errors calibrate
        the spread of the draws (`calibrated_spread`). A note names each channel whose gaps are filled no better than with its mean.

        Args:
            draws: None: the best guess, the mean of several draws. A number: a list of that many series, each a draw given the
                known values.
            random_state: seed. None: the estimator's.
            track: wraps the list of pieces of work, to show progress.
        """
        check_call(SeriesVAE.impute, draws=draws, random_state=random_state)
        series = self._series(X)
        found = self.kind_.impute(self.fitted_, series, draws=draws, seed=random_state, track=track)
        filled = [as_given(X, each) for each in found]
        return filled[0] if draws is None else filled

    # -- between the user's form and tensors ---------------------------------------------------------------------------

    def _series(self, X: Any) -> TimeSeries:
        check_is_fitted(self)
        series = to_series(X, columns=self.kind_.columns)
        self.kind_.conform(series.values)
        return series

    def packed(self, X: Any, y: Any = None) -> Data:
        return self._fitted().pack(self._series(X), None)

    def _rows(self, X: Any) -> TimeSeries:
        return self._series(X)


def held_out_windows(ends: np.ndarray, window: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the validation windows: a stretch of one series, and what does not overlap it.

    ends: as of `stretches`.
    """
    every = torch.arange(int(ends[-1]))
    longest = int(np.argmax(np.diff(ends, prepend=0)))
    first, last = int(ends[longest - 1]) if longest else 0, int(ends[longest])
    size = min(round(share * len(every)), last - first)
    if size < 1:
        return every, every[:0]
    start = first + int(torch.randint(last - first - size + 1, (1,), generator=generator(seed, SPLIT)))
    near = (every > start - window) & (every < start + size - 1 + window) & (every >= first) & (every < last)
    if near.sum() > len(every) / 2:
        return every, every[:0]
    return every[~near], every[start : start + size]


def as_given(X: Any, series: list[np.ndarray]) -> Any:
    """Put series (T, channels) in the form of X: a list or an array (series, T, channels) for several; (T,) stays (T,)."""
    if isinstance(X, TimeSeries):
        return series if len(series) > 1 else series[0]
    if is_several(X):
        return (
            np.stack(series)
            if getattr(X, "ndim", 0) == 3
            else [as_given(x, [s]) for x, s in zip(X, series, strict=True)]
        )
    return series[0][:, 0] if not is_table(X) and np.ndim(X) == 1 else series[0]
