"""Anomalies in the series of the Numenta Anomaly Benchmark (NAB): VUS-PR of scores of each time step, one setting for all.

    python benchmarks/series.py nab
    python benchmarks/series.py gaps

The series are the 52 that have anomalies, as rows in their order (no method is told the times); labels are NAB's windows. As
in TSB-AD (Liu and Paparrizos, NeurIPS 2024), methods either see the whole series, unlabelled, or learn from its first part:
a quarter, at least 500 steps, which by the labels ends 100 steps before the first anomaly where it can. VUS-PR takes the
period of the series as its largest margin. Settings were chosen on the five NAB series of TSB-AD's own tuning list; the
column "other 47" leaves these out.
"""

from __future__ import annotations

import argparse
import json
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

import vaekit
from harness import Rows, arguments, is_toy, run, spread
from vaekit.evaluation.vus import vus_pr
from vaekit.uses.steps import over_steps

TUNING = (
    "Twitter_volume_CVS",
    "ec2_network_in_257a54",
    "occupancy_t4013",
    "art_daily_nojump",
    "exchange-2_cpm_results",
)
NO_PERIOD, LAGS = 125, 400  # TSB-AD's window where the autocorrelation has no peak, and how far it looks for one
WINDOW = 128


def nab(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Values (T,) and labels (T,) of each series with anomalies."""
    archive = zipfile.ZipFile(folder / "timeseries" / "nab.zip")
    found = {}
    labelled = json.loads(archive.read("labels/combined_windows.json"))
    for path, windows in labelled.items():
        if is_toy() and Path(path).stem != GAPPED[0]:
            continue
        rows = [line.split(",") for line in archive.read(f"data/{path}").decode().splitlines()[1:]]
        times, values = np.array([r[0] for r in rows], "M8[s]"), np.array([float(r[1]) for r in rows])
        labels = np.zeros(len(rows), bool)
        for start, stop in windows:
            labels |= (times >= np.datetime64(start)) & (times <= np.datetime64(stop))
        if labels.any():
            start, steps = (max(0, int(labels.argmax()) - 600), 800) if is_toy() else (0, len(values))
            found[Path(path).stem] = values[start : start + steps], labels[start : start + steps]
    return found


def period(x: np.ndarray) -> int:
    """The lag of the highest peak of the autocorrelation, as TSB-AD finds it."""
    x = x[:20000] - x[:20000].mean()
    spectrum = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    r = np.fft.irfft(spectrum)[3 : min(LAGS, len(x) - 1) + 1]
    peaks = np.flatnonzero((r[1:-1] > r[:-2]) & (r[1:-1] > r[2:])) + 1
    best = peaks[r[peaks].argmax()] if len(peaks) else 0
    return int(best) + 3 if 3 <= best <= 300 else NO_PERIOD


# -- methods: (x, first, window, seed) -> scores (T,), high where odd. `first`: steps to learn from, or None --------------


def centred(scores: np.ndarray, window: int) -> np.ndarray:
    """Scores of windows at their middle steps, as TSB-AD places them."""
    return np.pad(scores, (window // 2, (window - 1) // 2), "edge")


def standardised(x: np.ndarray, window: int) -> np.ndarray:
    windows = sliding_window_view(x, window)
    deviation = windows.std(0)
    return (windows - windows.mean(0)) / np.where(deviation > 0, deviation, 1)


def sub_pca(x: np.ndarray, first: int | None, window: int, seed: int) -> np.ndarray:
    """As TSB-AD has it from PyOD: distances of a window from the tips of the unit eigenvectors, over their variances."""
    from scipy.spatial.distance import cdist
    from sklearn.decomposition import PCA

    windows = standardised(x, window)
    pca = PCA(svd_solver="full").fit(windows)
    weights = np.maximum(pca.explained_variance_ratio_, np.finfo(float).tiny)
    return centred((cdist(windows, pca.components_) / weights).sum(1), window)


def distance(x: np.ndarray, first: int | None, window: int, seed: int) -> np.ndarray:
    """How far a window is from the mean window: no model at all."""
    return centred(np.square(standardised(x, window)).sum(1), window)


def forest(x: np.ndarray, first: int | None, window: int, seed: int) -> np.ndarray:
    from sklearn.ensemble import IsolationForest

    windows = sliding_window_view(x, window)
    return centred(-IsolationForest(150, random_state=seed).fit(windows).score_samples(windows), window)


def noise(x: np.ndarray, first: int | None, window: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=len(x))


def ppca(x: np.ndarray, first: int | None, window: int, seed: int) -> np.ndarray:
    """What is left of `series_vae` where networks are linear: Tipping and Bishop 1999."""
    from sklearn.decomposition import PCA

    windows = sliding_window_view((x - x.mean()) / (x.std() or 1.0), window)
    return over_steps(-PCA(4, svd_solver="full").fit(windows).score_samples(windows), window)


def series_vae(
    x: np.ndarray, first: int | None, window: int, seed: int, by: str = "window", epochs: int = 10, **options: Any
) -> np.ndarray:
    """At its defaults, but for the budget, and for the sampler, which scores have no need of."""
    vae = vaekit.SeriesVAE(window=window, epochs=epochs, random_state=seed, sampler="prior", **options).fit(x[:first])
    scores = -vae.score_samples(x, by=by, k=16)
    return np.where(np.isnan(scores), scores[~np.isnan(scores)][0], scores)


class Donut(nn.Module):
    """The VAE of Xu et al. 2018 (arXiv 1802.03903): windows of 120, two layers of 100 units, 8 latent units, a scale for each
    step; a hundredth of the steps counts as missing in training (M-ELBO). No MCMC imputation: nothing is missing in use."""

    def __init__(self, window: int = 120, latent: int = 8, hidden: int = 100):
        super().__init__()

        def layers(a: int, b: int) -> nn.Module:
            return nn.Sequential(
                nn.Linear(a, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, b)
            )

        self.encoder, self.decoder = layers(window, 2 * latent), layers(latent, 2 * window)

    @staticmethod
    def normal(h: torch.Tensor) -> torch.distributions.Normal:
        mean, scale = h.chunk(2, dim=-1)
        return torch.distributions.Normal(mean, nn.functional.softplus(scale) + 1e-4)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        seen = (torch.rand_like(x) >= 0.01).float()
        q = self.normal(self.encoder(x * seen))
        z = q.rsample()
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1)
        log_p = (seen * self.normal(self.decoder(z)).log_prob(x)).sum(-1)
        return -(log_p + seen.mean(-1) * prior - q.log_prob(z).sum(-1)).mean()


def donut(x: np.ndarray, first: int | None, window: int, seed: int, epochs: int = 50) -> np.ndarray:
    torch.manual_seed(seed)
    learn = x[:first]
    x = (x - learn.mean()) / (learn.std() or 1.0)
    size = 120
    windows = torch.from_numpy(sliding_window_view(x, size).astype(np.float32).copy())
    train = windows[: len(learn) - size + 1]
    model = Donut(size)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.75)
    for _ in range(epochs):
        for rows in torch.randperm(len(train)).split(256):
            optimizer.zero_grad()
            model.loss(train[rows]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 10.0)
            optimizer.step()
        schedule.step()
    scores = []
    with torch.no_grad():
        for chunk in windows.split(1024):
            p = model.normal(model.decoder(model.normal(model.encoder(chunk)).sample((64,))))
            scores.append(-p.log_prob(chunk)[..., -1].mean(0))
    return np.pad(torch.cat(scores).numpy(), (size - 1, 0), "edge")


METHODS: dict[str, tuple[str, Callable[..., np.ndarray], int | None, bool]] = {
    # what is said of it; the function; its window (None: the period); whether it learns from the first part
    "random": ("random scores", noise, None, False),
    "distance": ("distance from the mean window, window = period", distance, None, False),
    "sub-pca": ("Sub-PCA (TSB-AD), window = period", sub_pca, None, False),
    "sub-pca-128": (f"Sub-PCA (TSB-AD), window {WINDOW}", sub_pca, WINDOW, False),
    "forest": ("isolation forest of windows, window = period", forest, None, False),
    "forest-128": (f"isolation forest of windows, window {WINDOW}", forest, WINDOW, False),
    "donut": ("Donut, window 120", donut, None, False),
    "donut-first": ("Donut, window 120", donut, None, True),
    "ppca-128": (f"probabilistic PCA of 4 units, window {WINDOW}, mean over windows", ppca, WINDOW, False),
    "vaekit": (f"vaekit.SeriesVAE, window {WINDOW}", series_vae, WINDOW, False),
    "vaekit-first": (f"vaekit.SeriesVAE, window {WINDOW}", series_vae, WINDOW, True),
    "vaekit-normal": ("the same, likelihood normal", partial(series_vae, likelihood="normal"), WINDOW, False),
    "vaekit-period": ("the same, window = period", series_vae, None, False),
    "vaekit-past": ("the same, by='past': no later step is seen", partial(series_vae, by="past"), WINDOW, False),
    "vaekit-last": ("the same, by='last': no later step is seen", partial(series_vae, by="last"), WINDOW, False),
}


SEEDED = ("random", "forest", "forest-128", "donut", "donut-first", "vaekit", "vaekit-first")


def judged(key: str, x: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, float]:
    _, method, fixed, from_first = METHODS[key]
    longest = period(x)
    first = first_part(labels) if from_first else None
    return {"vus_pr": vus_pr(labels, method(x, first, min(fixed or longest, len(x) // 2), seed), longest)}


def anomalies(options: argparse.Namespace) -> Rows:
    """Anomalies in the series of the Numenta Anomaly Benchmark (NAB): VUS-PR of scores of each time step, one setting for all

    Means over series; ± is the standard deviation of that mean over seeds; without it, chance has no part in the method, or it was
    run with seed 0 alone."""
    data = nab(options.folder)
    for key in options.methods:
        seeds = options.seeds if key in SEEDED else [0]
        found = {
            name: [
                options.cell({"series": name, "method": key, "seed": s}, judged, key, *parts, s)["vus_pr"]
                for s in seeds
            ]
            for name, parts in data.items()
        }
        values = np.array(list(found.values()))  # (series, seeds)
        others = np.array([of for name, of in found.items() if name not in TUNING])
        title, _, _, from_first = METHODS[key]
        yield {
            "method": title, "learns from": "first part" if from_first else "whole series",
            "VUS-PR, all 52": spread(values.mean(0), 3, ddof=1), "VUS-PR, other 47": spread(others.mean(0), 3, ddof=1),
            "median of 52": f"{np.median(values.mean(1)):.3f}",
        }  # fmt: skip


GAPPED = ("nyc_taxi", "ambient_temperature_system_failure", "ec2_request_latency_system_failure")
GAPS, LONGEST = 25, 48


def gaps(options: argparse.Namespace) -> Rows:
    """Gaps of 4 to 47 steps, planted in three series: errors of what they are filled with, and how often it is in the interval

    ± is the standard deviation over seeds, of the gaps and of the model."""
    data = nab(options.folder)
    for name in filter(data.get, GAPPED):
        for likelihood in (None, "normal", "autoregressive"):
            key = {"series": name, "likelihood": likelihood}
            cells = [options.cell({**key, "seed": s}, fill, data[name][0], likelihood, s) for s in options.seeds]
            yield {
                "series": name, "filled by": f"vaekit.SeriesVAE, likelihood {likelihood}" if likelihood else "a straight line",
                "RMSE / deviation": spread([cell["error"] for cell in cells], 3, ddof=1),
                "inside the 90 % interval of 20 draws, %": spread([c["inside"] for c in cells if "inside" in c], 0, ddof=1),
            }  # fmt: skip


def fill(x: np.ndarray, likelihood: str | None, seed: int) -> dict[str, float]:
    """The error of what gaps are filled with, by a model or by a straight line, and by a model the share in its interval, %."""
    rng = np.random.default_rng(seed)
    hidden = np.zeros(len(x), bool)
    for start in rng.integers(200, len(x) - 200, GAPS):
        hidden[start : start + rng.integers(4, LONGEST)] = True
    if likelihood is None:
        line = np.interp(np.arange(len(x)), np.flatnonzero(~hidden), x[~hidden])
        return {"error": error(line, x, hidden)}
    gapped, epochs = np.where(hidden, np.nan, x), 1 if is_toy() else 10
    vae = vaekit.SeriesVAE(likelihood=likelihood, epochs=epochs, random_state=seed, sampler="prior").fit(gapped)
    low, high = np.quantile(vae.impute(gapped, draws=20), [0.05, 0.95], axis=0)
    inside = ((x >= low) & (x <= high))[hidden].mean()
    return {"error": error(vae.impute(gapped), x, hidden), "inside": 100 * float(inside)}


def error(filled: np.ndarray, x: np.ndarray, hidden: np.ndarray) -> float:
    return float(np.sqrt(np.mean((filled - x)[hidden] ** 2)) / x.std())


def first_part(labels: np.ndarray) -> int:
    """Steps to learn from, as TSB-AD's file names have them."""
    return max(500, min(len(labels) // 4, int(labels.argmax()) - 100))


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0, 1, 2], methods=METHODS)
    run(parser, {"nab": anomalies, "gaps": gaps}, seeds=[0, 1], methods=["random", "vaekit"])
