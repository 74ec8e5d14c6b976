"""What `vaekit features` and `vaekit evaluate` do beyond the likelihood: sources and runs on one side, metrics on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vaekit import sources
from vaekit.errors import UserError
from vaekit.estimators.vae import VAE
from vaekit.evaluation import FeatureNetwork, compare, disentanglement, train_features
from vaekit.evaluation.health import NEAR_LIMIT
from vaekit.show.track import track

SAMPLES = 5000  # the most that are generated to be compared
SAMPLES_AT_ONCE = 500


def features_of_source(
    source: str,
    labels: Sequence[str],
    out: Path,
    *,
    resize: tuple[int, int] | None = None,
    seed: int = 0,
    epochs: int | None = None,
) -> FeatureNetwork:
    """Train a feature network on the pictures and labels of a source, and write it to `out`."""
    data = sources.read(source, conditions=labels, resize=resize)
    if data.kind != "images":
        raise UserError(f"{source} holds rows of numbers, but a feature network learns from pictures: give pictures")
    shown = partial(track, what="features")
    network = train_features(data.x, columns(data.conditions, labels), seed=seed, epochs=epochs, track=shown)
    network.save(out)
    return network


def distances(estimator: VAE, data: sources.Dataset, network: FeatureNetwork, seed: int = 0) -> dict[str, Any]:
    """`compare` the pictures of `data` with half as many samples, at most 5000; if the model has conditions, under
    those of rows of `data` chosen at random."""
    n = min(len(data) // 2, SAMPLES)
    network.pack(data.x[:1])  # tell of pictures that do not fit before generating any
    rows = np.random.default_rng(seed).choice(len(data), n, replace=False)
    made = []
    for i, part in enumerate(np.split(rows, range(SAMPLES_AT_ONCE, n, SAMPLES_AT_ONCE)) if n else []):
        y = {name: data.conditions[name][part] for name in estimator.conditions_.named if name in data.conditions}
        made.append(estimator.sample(len(part), y, random_state=seed + i))
    generated = np.concatenate(made) if made else data.x[:0]
    found = compare(data.x, generated, network.features, seed=seed)
    return {**found, "features": {"hash": network.hash, "accuracy": network.accuracy}}


def factor_scores(estimator: VAE, data: sources.Dataset, names: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """Disentanglement of the codes of `data` against factors that came with it as conditions."""
    named = columns(data.conditions, names)
    y = {name: data.conditions[name] for name in estimator.conditions_.named if name in data.conditions}
    return disentanglement(estimator.transform(data.x, y), np.stack(list(named.values()), 1), list(named), seed)


def columns(conditions: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns (N,) by name; an array (N, n) gives n of them, NAME[0], NAME[1], ..."""
    found: dict[str, np.ndarray] = {}
    for name in names:
        if name not in conditions:
            raise UserError(
                f"the source has no {name!r}: name a label, a column, or an array with one or more values per row"
            )
        values = np.asarray(conditions[name])
        if values.ndim == 1:
            found[name] = values
        else:
            found |= {f"{name}[{i}]": column for i, column in enumerate(values.T)}
    return found


def distance_lines(found: Mapping[str, Any]) -> list[str]:
    """Write the distances as lines."""
    floor = found["floor"]
    names = {"frechet": "Frechet distance", "kernel": "kernel distance", "precision": "precision", "recall": "recall"}
    return [
        "",
        f"{found['rows']} samples, in the features {found['features']['hash']}; in the second column real rows against as many others",
        *(f"{text:18}{found[key]:<10.4g} {floor[key]:.4g}" for key, text in names.items()),
    ]


def factor_lines(found: Mapping[str, Any]) -> list[str]:
    lines = ["", f"disentanglement   MIG {found['mig']:.3f}, SAP {found['sap']:.3f}"]
    if found["factor_vae"] is not None:
        lines[1] += f", FactorVAE {found['factor_vae']:.3f} (guessing: {found['factor_vae_chance']:.3f})"
        lines.append(f"DCI               disentanglement {found['dci_disentanglement']:.3f}")
    else:
        lines.append("DCI               one factor has no disentanglement")
    lines[2] += f", completeness {found['dci_completeness']:.3f}, informativeness {found['dci_informativeness']:.3f}"
    return lines + [
        f"  {name:16}MIG {scores['mig']:.3f}, SAP {scores['sap']:.3f}, informativeness {scores['informativeness']:.3f}"
        for name, scores in found["factors"].items()
    ]


def latent_lines(results: Mapping[str, Any]) -> list[str]:
    """Write the measures of the latent as lines. If the number of rows limits the information, lines say that these are bounds."""
    information, missed, gap = (results[name] for name in ("mutual_information", "marginal_kl", "shuffle_gap"))
    lines = []
    if information is not None:
        limit = results["mutual_information_limit"]
        cut_off = information > limit - NEAR_LIMIT
        least = (
            f"at least {information:.2f} nats, the most these rows can show" if cut_off else f"{information:.2f} nats"
        )
        lines.append(f"I(x; z)         {least}")
        if missed is not None and cut_off:
            lines.append(f"KL(q(z)||p(z))  {results['marginal_kl_at_least'] or 0:.2f} to {missed:.2f} nats")
        elif missed is not None:
            lines.append(f"KL(q(z)||p(z))  {missed:.2f} nats, what the prior misses")
    if gap is not None:
        lines.append(f"shuffle gap     {gap:.2f} nats, lost with the z of another row")
    return lines
