"""Series: windows of measurements at equal steps of time, as (channels, time)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import UserError
from vaekit.forms.numbers import rounded
from vaekit.kinds.base import Kind, one_source
from vaekit.kinds.table.columns import decimals
from vaekit.show.write import Names, write_array, write_table
from vaekit.sources.pieces import Pieces
from vaekit.sources.series import TimeSeries, read_series, to_series
from vaekit.training.data import Data
from vaekit.training.products import inference


@dataclass
class Series(Kind):
    """Schema of windows of series.

    Attributes:
        window: time steps of a window.
        mean, scale: of each channel, which the model sees as (value - mean) / scale.
        columns: names of the channels, where they are known.
        low, high: of each channel, what no value can be below or above: 0 where none was negative, or none positive, and 1 or
            100 where all of them lie between 0 and that and reach both.
        step: for each channel, the number that divides all its values, such as 1 for counts; 0 if no number does.
    """

    window: int
    mean: list[float]
    scale: list[float]
    columns: list[str] | None = None
    low: list[float] | None = None
    high: list[float] | None = None
    step: list[float] | None = None

    name: ClassVar[str] = "series"
    noun: ClassVar[str] = "series"
    row: ClassVar[str] = "window"
    report: ClassVar[str] = "vaekit.kinds.series.report:SeriesReport"
    estimator: ClassVar[str] = "SeriesVAE"
    score_samples: ClassVar[int] = 32
    exchangeable: ClassVar[bool] = False  # neighbouring steps are alike
    fills: ClassVar[bool] = True

    @classmethod
    def recognises(cls, X: Any, likelihood: str) -> bool:
        return isinstance(X, TimeSeries)

    @classmethod
    def read(cls, source: str | Sequence[str], options: Mapping[str, Any]) -> TimeSeries:  # type: ignore[override]
        return read_series(one_source(source))

    @staticmethod
    def open_source(source: str) -> Pieces:
        raise UserError(
            "series cannot be packed: a window goes across many rows, and shards hold rows on their own; `vaekit fit FILE "
            "--kind series` reads the file itself"
        )

    def read_again(
        self, source: str | Sequence[str], fitted: Any, conditions: Sequence[str], also: Sequence[str] = ()
    ) -> TimeSeries:
        return read_series(one_source(source), columns=self.columns)

    def take(self, X: Any) -> Sequence[np.ndarray]:
        return self.conform(to_series(X, columns=self.columns).values)

    @classmethod
    def default_likelihood(cls, rows: Any, **options: Any) -> str:
        """Normal, with errors of neighbouring steps that are correlated as in the data."""
        return "autoregressive"

    @classmethod
    def infer(
        cls,
        series: Sequence[np.ndarray],
        standardize: bool = True,
        columns: list[str] | None = None,
        window: int = 128,
    ) -> Series:
        """Learn the schema from series, each (T, channels), NaN where missing. UserError for a channel without values."""
        steps = np.concatenate(list(series))
        observed = ~np.isnan(steps)
        if not observed.any(0).all():
            empty = int(np.flatnonzero(~observed.any(0))[0])
            raise UserError(f"channel {columns[empty] if columns else empty!r} has no value at all: leave it out")
        low, high = np.nanmin(steps, axis=0), np.nanmax(steps, axis=0)
        limits = dict(
            low=np.where(low >= 0, 0.0, -np.inf).tolist(),
            high=np.where(high <= 0, 0.0, np.where((low == 0) & np.isin(high, (1, 100)), high, np.inf)).tolist(),
            step=[decimals(values[~np.isnan(values)]) for values in steps.T],
        )
        if not standardize:
            return cls(window, [0.0] * steps.shape[1], [1.0] * steps.shape[1], columns, **limits)
        mean, deviation = np.nanmean(steps, axis=0), np.nanstd(steps, axis=0)
        # A constant channel has no spread of its own to divide by; what is left of it is rounding.
        scale = np.where(deviation > 1e-12 * np.maximum(1.0, np.abs(mean)), deviation, 1.0)
        return cls(window, mean.tolist(), scale.tolist(), columns, **limits)

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (len(self.mean), self.window)

    @property
    def unit(self) -> Tensor:
        return torch.tensor(self.scale)

    @property
    def extent(self) -> str:
        return f"{'x'.join(map(str, self.event_shape))} (channels x time steps)"

    def conform(self, series: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """Return the series. UserError if their channels are not those of the model."""
        for values in series:
            if values.shape[1] != len(self.mean):
                raise UserError(f"a series of {values.shape[1]} channels does not fit a model of {len(self.mean)}")
        return series

    def pack(self, series: Sequence[np.ndarray], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor | None]:
        """The windows that begin at each step of series (T, channels) and stay within their series: x and mask (True where
        observed; None: everywhere), both (N, channels, window). A series shorter than a window is one window, whose end is
        missing. For one series they are views, which cost no memory."""
        views = []
        for values in self.conform(series):
            short = max(0, self.window - len(values))
            values = np.pad(values, ((0, short), (0, 0)), constant_values=np.nan)
            x = torch.from_numpy((values - np.asarray(self.mean)) / np.asarray(self.scale)).to(dtype)
            views.append((x.nan_to_num(0.0).unfold(0, self.window, 1), (~x.isnan()).unfold(0, self.window, 1)))
        x, mask = (v[0] if len(v) == 1 else torch.cat(v) for v in zip(*views, strict=True))
        return x, None if mask.all() else mask

    def unpack(self, x: Tensor) -> np.ndarray:
        """(N, channels, window) -> (N, window, channels) in the data's own units, bounds and steps."""
        values = x.double().cpu().numpy().swapaxes(-1, -2) * np.asarray(self.scale) + np.asarray(self.mean)
        return self.limited(values)

    def form(self) -> dict[str, Any]:
        limits = {
            name: None if ends is None else [float(v) if np.isfinite(v) else None for v in ends]
            for name, ends in (("low", self.low), ("high", self.high))
        }
        return {
            "type": "array",
            "view": "curves",
            "shape": [self.window, len(self.mean)],
            "event": list(self.event_shape),
            "axes": "tc",
            "mean": list(self.mean),
            "scale": list(self.scale),
            **limits,
            "step": self.step,
            "dtype": "float64",
            "columns": self.columns,
        }

    def limited(self, values: np.ndarray) -> np.ndarray:
        """Round values (..., channels) to the nearest that their channel can have."""
        if self.low is None or self.high is None or self.step is None:
            return values
        values = np.clip(values, self.low, self.high)
        return np.stack(
            [rounded(v, step) for v, step in zip(np.moveaxis(values, -1, 0), self.step, strict=True)], axis=-1
        )

    @inference()
    def reconstruct(self, fitted: Any, X: Any, y: Any = None, *, to: Any = None, **writing: Any) -> list[np.ndarray]:
        """Series (T, channels): of each step the mean over the windows that hold it."""
        self.written(None, **writing)  # nothing of a series is written piece by piece
        model, found = fitted.model, []
        for values in self.take(X):
            windows = Data(*self.pack([values], fitted.dtype))
            steps = len(windows) + self.window - 1
            total, count = np.zeros((steps, values.shape[1])), np.zeros((steps, 1))
            start = 0
            for chunk in fitted.chunks(windows):
                x = self.unpack(model.decode(model.posterior(chunk.x, None, chunk.mask).mean).mean)
                for i in range(self.window):
                    total[start + i : start + i + len(x)] += x[:, i]
                    count[start + i : start + i + len(x)] += 1
                start += len(x)
            found.append(self.limited(total / count)[: len(values)])
        return found

    def impute(
        self, fitted: Any, X: Any, y: Any = None, *, draws: int | None, seed: int | None = None, track: Any = list
    ) -> list[list[np.ndarray]]:
        from vaekit.kinds.series.fill import fill_gaps

        return fill_gaps(fitted, self.take(X), draws, fitted.seed if seed is None else seed, track)

    def why_not(self, use: str) -> str:
        cannot = "is a model of series, and interpolate cannot walk between series: use a model of rows"
        return cannot if use == "interpolation" else ""

    def write(self, path: Path, rows: Any, names: Names = None) -> None:
        """Write windows (N, window, channels), one series (steps, channels) or a list of them, a row a step. names: the time."""
        several = np.ndim(rows[0]) == 2
        parts = list(rows) if several else [rows]
        lengths = [len(part) for part in parts]
        if path.suffix.lower() in (".npy", ".npz"):
            if len(set(lengths)) > 1:
                raise UserError(f"{path.name} cannot hold series of different lengths: choose .csv or .parquet")
            return write_array(path, np.asarray(rows), [])
        which = {"series" if isinstance(rows, list) else "window": np.repeat(np.arange(len(parts)), lengths)}
        step = names or {"step": np.concatenate([np.arange(n) for n in lengths])}
        channels = self.columns or [f"x{i}" for i in range(len(self.mean))]
        values = dict(zip(channels, np.concatenate(parts).T, strict=True))
        write_table(path, {**(which if several else {}), **step, **values})

    @property
    def in_words(self) -> str:
        return f"windows of {self.window} steps of {len(self.mean)} channel{'s'[: len(self.mean) - 1]}"

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        from vaekit.nets import MLP, mlp

        if network == "conv":
            raise UserError("network 'conv' needs pictures: use 'mlp' for series")
        net = partial(MLP, hidden=mlp.SIZES[size])
        return net, net
