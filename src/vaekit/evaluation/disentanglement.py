"""Does each latent unit stand for one factor of the data, and each factor for one unit?

Everything here is of codes (N, d), such as `VAE.transform` gives, and factors (N, f), whole numbers that say which value
each known factor has in each row. No score changes when units are permuted, rescaled or mirrored. A rotated code, which
holds just as much, scores lower: that is what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vaekit.errors import UserError

BINS = 20  # of each unit, for mutual information, as in disentanglement_lib
ROWS = 10_000  # what trees are grown on: more rows change no second digit
TREES, LEAF = 20, 5
VOTES, VOTE_ROWS = 800, 64


def disentanglement(
    codes: np.ndarray, factors: np.ndarray, names: Sequence[str] | None = None, seed: int = 0
) -> dict[str, Any]:
    """All scores of codes (N, d) against known factors (N, f): does each unit stand for one factor? 1 is best.

    Args:
        codes: numbers.
        factors: whole numbers, or anything with few different values.
        names: of the f factors.
        seed: of the rows that are held out and of the votes.

    Returns:
        A dict with rows; mig (Chen et al. 2018); dci_disentanglement, dci_completeness, dci_informativeness (Eastwood & Williams 2018);
        factor_vae (Kim & Mnih 2018) and factor_vae_chance, the score of guessing; sap (Kumar et al. 2018); and factors: mig, sap and
        informativeness of each by name. For a single factor dci_disentanglement and factor_vae are None.

    Raises:
        UserError: shapes do not fit, codes are not finite, or a factor has only one value or too many.

    Example:
        >>> from vaekit.evaluation import disentanglement
        >>> factors = np.array([(a, b) for a in range(4) for b in range(4)] * 8)
        >>> round(disentanglement(factors.astype(float), factors)["mig"], 3)  # a unit for each factor
        1.0
    """
    codes, factors = check_factors(codes, factors)
    names = [f"factor {i}" for i in range(factors.shape[1])] if names is None else list(names)
    if len(names) != factors.shape[1]:
        raise UserError(f"{len(names)} names for {factors.shape[1]} factors: give one name for each")
    for name, values in zip(names, factors.T, strict=True):
        if values.max() == 0:
            raise UserError(f"factor {name!r} has the same value in every row: leave it out, or give rows that vary it")
        if 4 * (values.max() + 1) > len(values):
            raise UserError(
                f"factor {name!r} has {values.max() + 1} values in {len(values)} rows, too few of each to learn from: "
                "leave it out, or give it as fewer values"
            )
    gaps, sap_gaps = mig(codes, factors), sap(codes, factors, seed)
    importance, informativeness = dci_importance(codes, factors, seed)
    several = factors.shape[1] > 1
    return {
        "rows": len(codes),
        "mig": float(gaps.mean()),
        "dci_disentanglement": dci_disentanglement(importance) if several else None,
        "dci_completeness": dci_completeness(importance),
        "dci_informativeness": float(informativeness.mean()),
        "factor_vae": factor_vae(codes, factors, seed) if several else None,
        "factor_vae_chance": 1 / factors.shape[1],
        "sap": float(sap_gaps.mean()),
        "factors": {
            name: {"mig": float(gaps[i]), "sap": float(sap_gaps[i]), "informativeness": float(informativeness[i])}
            for i, name in enumerate(names)
        },
    }


def mutual_information(a: np.ndarray, b: np.ndarray) -> float:
    """I(a; b) in nats of two columns of whole numbers (N,), from their table of counts."""
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a, b), 1 / len(a))
    independent = table.sum(1, keepdims=True) * table.sum(0, keepdims=True)
    seen = table > 0
    return float((table[seen] * np.log(table[seen] / independent[seen])).sum())


def binned(codes: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Cut each unit of codes (N, d) into equally wide bins -> (N, d) whole numbers."""
    low, high = codes.min(0), codes.max(0)
    share = (codes - low) / np.where(high > low, high - low, 1)
    return np.minimum((share * bins).astype(int), bins - 1)


def mig(codes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Mutual information gap of each factor (Chen et al. 2018, arXiv 1802.04942) -> (f,).

    It is how much more the best unit knows about the factor than the second best, as a share of the factor's entropy.
    """
    information = np.array([[mutual_information(u, v) for v in factors.T] for u in binned(codes).T])
    entropy = np.array([mutual_information(v, v) for v in factors.T])
    return top_gap(information) / entropy


def top_gap(scores: np.ndarray) -> np.ndarray:
    """Best minus second best unit of scores (d, f), for each factor -> (f,). With a single unit, the second best is 0."""
    ranked = np.sort(np.vstack([scores, np.zeros_like(scores[:1])]), axis=0)
    return ranked[-1] - ranked[-2]


def dci_importance(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Measure how much each unit matters to a random forest that predicts each factor (Eastwood & Williams 2018).

    Returns:
        importance (d, f), each column with the sum 1 (or 0); informativeness (f,): the share of held-out rows whose factor
        is recognised, where the paper has the error.
    """
    from sklearn.ensemble import RandomForestClassifier

    train, test = halves(len(codes), seed)
    importance, accuracy = [], []
    for values in factors.T:
        # Every split may use the best of all units: a random choice of them would make idle units look important.
        forest = RandomForestClassifier(TREES, max_features=None, min_samples_leaf=LEAF, random_state=seed)
        forest.fit(codes[train], values[train])
        importance.append(forest.feature_importances_)
        accuracy.append(forest.score(codes[test], values[test]))
    return np.stack(importance, axis=1), np.array(accuracy)


def dci_disentanglement(importance: np.ndarray) -> float:
    """1 where each unit matters to one factor only: importance (d, f) -> 1 - entropy over the factors, of each unit,
    weighted by how much the unit matters."""
    total = importance.sum()
    return float((concentration(importance) * importance.sum(1)).sum() / total) if total else 0.0


def dci_completeness(importance: np.ndarray) -> float:
    """1 where each factor needs one unit only: importance (d, f) -> 1 - entropy over the units, weighted by factor."""
    return dci_disentanglement(importance.T)


def concentration(rows: np.ndarray) -> np.ndarray:
    """1 - entropy / log(m) of each row of (n, m), scaled to a sum of 1 -> (n,). For one entry it is 1, for zeros 0."""
    if rows.shape[1] == 1:
        return (rows[:, 0] > 0).astype(float)
    total = rows.sum(1, keepdims=True)
    p = np.divide(rows, total, out=np.full(rows.shape, 1 / rows.shape[1]), where=total > 0)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(1)
    return 1 - entropy / np.log(rows.shape[1])


def factor_vae(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> float:
    """The FactorVAE score (Kim & Mnih 2018, arXiv 1802.05983): from which unit varies least, guess which factor is fixed.

    Each of 800 votes takes 64 of the rows, with replacement, that share the value of one factor; the unit whose variance
    is the smallest share of its variance over all rows votes for that factor. A majority table learned from these is
    tested on 800 more. Guessing scores 1/f.
    """
    variance = codes.var(0)
    if not variance.any():
        return 1 / factors.shape[1]
    scaled = codes[:, variance > 0] / np.sqrt(variance[variance > 0])
    rng = np.random.default_rng(seed)
    same = [[r for v in np.unique(column) if len(r := np.flatnonzero(column == v)) > 1] for column in factors.T]
    votes = np.zeros((2, scaled.shape[1], factors.shape[1]))
    for table in votes:
        for factor in rng.integers(factors.shape[1], size=VOTES):
            rows = same[factor][rng.integers(len(same[factor]))]
            table[scaled[rng.choice(rows, VOTE_ROWS)].var(0).argmin(), factor] += 1
    learned, test = votes
    return float(test[np.arange(len(test)), learned.argmax(1)].sum() / VOTES)


def sap(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> np.ndarray:
    """Separated attribute predictability of each factor (Kumar et al. 2018, arXiv 1711.00848) -> (f,).

    The gap between the best and the second best unit in predicting the factor by thresholds on that unit alone, in
    balanced accuracy on held-out rows. A perfect code of a factor of K values scores 1 - 1/K: the others still guess.
    """
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    train, test = halves(len(codes), seed)
    scores = np.zeros((codes.shape[1], factors.shape[1]))
    for j, values in enumerate(factors.T):
        for i in range(codes.shape[1]):
            tree = DecisionTreeClassifier(max_leaf_nodes=int(values.max()) + 1, class_weight="balanced", random_state=0)
            tree.fit(codes[train, i : i + 1], values[train])
            known = np.isin(values[test], tree.classes_)
            guess = tree.predict(codes[test, i : i + 1][known])
            scores[i, j] = balanced_accuracy_score(values[test][known], guess)
    if len(scores) == 1:  # the rival of a lone unit guesses
        scores = np.vstack([scores, 1 / (factors.max(0) + 1)])
    return top_gap(scores)


def halves(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and rows to test on, at most 10 000 in all."""
    order = np.random.default_rng(seed).permutation(rows)[:ROWS]
    return order[: len(order) // 2], order[len(order) // 2 :]


def check_factors(codes: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes as (N, d) float64; factors as (N, f) whole numbers 0, 1, ..., in the order of their values."""
    codes, factors = np.asarray(codes, np.float64), np.asarray(factors)
    factors = factors[:, None] if factors.ndim == 1 else factors
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise UserError(
            f"codes (N, d) and factors (N, f) have to describe the same rows, got {codes.shape}, {factors.shape}"
        )
    if len(codes) < 10:
        raise UserError(f"{len(codes)} rows are too few to tell factors apart: give at least 10")
    if not np.isfinite(codes).all():
        raise UserError("codes hold NaN or an infinity: the model that made them is broken")
    if factors.dtype.kind == "f" and not np.isfinite(factors).all():
        raise UserError("factors hold NaN or an infinity: leave out the rows whose factors are not known")
    return codes, np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], axis=1)
