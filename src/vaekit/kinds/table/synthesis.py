"""Is a synthetic table any good? Its shapes, its use for learning, and what it reveals about the training rows.

Tables are `pyarrow.Table`, the columns of one are in all. A column is a number (dates and times too) or a category, by
its Arrow type; `kinds`, {"column": "category" or "number"}, overrides that. In a category a missing value is one more
category. Shapes and pairs go by the definitions, and the names, of SDMetrics (docs.sdv.dev/sdmetrics). What each measure
proves and what it does not is in `SENTENCES`.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.kinds.table.encoded import Encoded, Kinds, encode, some

if TYPE_CHECKING:
    import pyarrow as pa

BINS = 10  # of a number beside a category, as in SDMetrics
LEVELS = 250  # a category's commonest, where each takes room or a tree splits by them; the others are one
ROWS = 20_000  # the most rows, drawn at random, that are compared with each other or learned from
TREES = 1000  # the most that are grown for one target: each step grows one for each class
TARGET_CLASSES = 20  # of a column that is chosen as a target; a user may choose one of up to LEVELS
FOLDS = 3
HARD, EASY = 0.6, 0.8  # of an AUC: below the one rows are hard to tell apart, above the other easy
WORST = 3  # columns that are named
SMALLEST = 1e-3  # the distance below which two records count as one, in the density ratio

SENTENCES = {
    "column_shapes": "Each column on its own is distributed like the real one (1: the same). It does not say whether the columns "
    "belong together: columns shuffled independently score 1.",
    "missing": "A column lacks values as often as in the real table (1: the same). It does not say whether they are missing in "
    "the same rows.",
    "pair_trends": "Any two columns depend on each other as in the real table (1: the same). It does not look at three or more at once, "
    "and a correlation sees straight lines only.",
    "efficacy": "How well a model trained on synthetic rows predicts real ones, beside a model trained on real rows. It holds for "
    "this target and this learner, and a copy of the training rows scores as well as they do.",
    "two_sample": "How well a classifier tells synthetic rows from real ones (0.5: not at all, 1: always). This is the hardest "
    "measure: one small artefact, such as a number that is rounded differently, can decide it.",
    "copying": "Whether synthetic rows are as near to held-out rows as to training rows (0.5) or nearer to training rows (towards 1: "
    "copies). A value of 0.5 does not prove privacy (arXiv 2505.01524): one disclosed row does not change a share.",
    "membership": "How well an attacker with the synthetic table tells training rows from other rows (0.5: not "
    "at all, 1: always) with these two attacks. Another attack may do better, and a mean over rows hides the few most at risk.",
}  # fmt: skip


class TooFewRows(UserError):  # noqa: N818
    """There are too few rows for a measure: a report leaves it out."""


# -- shapes ------------------------------------------------------------------------------------------------------------


def column_shapes(real: pa.Table, synthetic: pa.Table, kinds: Kinds = None) -> dict[str, float]:
    """The similarity of each column, 0..1: 1 - the Kolmogorov-Smirnov statistic of known numbers (KSComplement), or 1 - the total variation
    of categories (TVComplement). NaN if a column of numbers has no value."""
    a, b = encode(real, synthetic, kinds=kinds)
    found = {}
    for name in real.column_names:
        if name in a.numbers:
            x, y = (values[~np.isnan(values)] for values in (a.numbers[name], b.numbers[name]))
            found[name] = 1 - kolmogorov_smirnov(x, y) if len(x) and len(y) else math.nan
        else:
            found[name] = overlap(a.codes[name], b.codes[name])
    return found


def kolmogorov_smirnov(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference between the distribution functions of a (N,) and b (M,)."""
    both = np.concatenate([a, b])  # scipy has it too, with a p-value that takes longer than all the rest
    shares = [np.searchsorted(np.sort(part), both, "right") / len(part) for part in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def missing_values(real: pa.Table, synthetic: pa.Table) -> dict[str, float]:
    """1 - the difference between the shares of missing values (MissingValueSimilarity), for columns with missing values."""
    a, b = encode(real, synthetic)
    shares = {name: [part.missing(name).mean() for part in (a, b)] for name in real.column_names}
    return {name: float(1 - abs(x - y)) for name, (x, y) in shares.items() if x or y}


def pair_trends(real: pa.Table, synthetic: pa.Table, kinds: Kinds = None) -> dict[tuple[str, str], float]:
    """The similarity of the relation of each pair of columns, 0..1.

    Two numbers: 1 - |r - r'| / 2 of Pearson's correlations (CorrelationSimilarity); a column that is constant has none,
    which counts as 0. Else 1 - the total variation of the contingency table (ContingencySimilarity), a number in 10 bins
    of equal width over the real values, the outer two of which hold what lies beyond; a missing value has a bin of its own.
    """
    a, b = encode(real, synthetic, kinds=kinds)
    binned: list[dict[str, np.ndarray]] = [dict(a.codes), dict(b.codes)]
    for name, values in a.numbers.items():
        known = values[~np.isnan(values)]
        edges = np.linspace(known.min(), known.max(), BINS + 1)[1:-1] if len(known) else np.zeros(1)
        for part, codes in zip((a, b), binned, strict=True):
            own = part.numbers[name]
            codes[name] = np.where(np.isnan(own), -1, np.digitize(own, edges))
    found = {}
    for first, second in itertools.combinations(real.column_names, 2):
        if first in a.numbers and second in a.numbers:
            r, s = (correlation(part.numbers[first], part.numbers[second]) for part in (a, b))
            found[first, second] = 1 - abs(r - s) / 2
        else:
            width = 1 + max(int(codes[second].max(initial=0)) for codes in binned) + 1  # -1 is a code too
            found[first, second] = overlap(*(codes[first] * width + codes[second] + 1 for codes in binned))
    return found


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """1 - the total variation distance of the shares of whole numbers in a (N,) and b (M,)."""
    shares: dict[int, float] = {}
    for sign, codes in ((1, a), (-1, b)):
        values, counts = np.unique(codes, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            shares[value] = shares.get(value, 0.0) + sign * count / len(codes)
    return 1 - sum(map(abs, shares.values())) / 2


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation over the rows where both are known; 0 if one of them does not vary."""
    both = ~(np.isnan(a) | np.isnan(b))
    a, b = a[both], b[both]
    if not len(a) or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


# -- learning ----------------------------------------------------------------------------------------------------------


def efficacy(
    train: pa.Table, synthetic: pa.Table, test: pa.Table, target: str, kinds: Kinds = None, *, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Compare training on synthetic rows with training on real rows, tested on real rows, with gradient-boosted trees.

    Rows whose target is missing are left out. If there are more than 20,000 rows, 20,000 random ones are used; with many classes
    each has fewer trees, so that there are at most 1000.

    Returns:
        {"real": scores, "synthetic": scores}. For a category: macro_f1, accuracy, and auc (for several classes: the mean of
        each against the rest). For a number: r2.
    """
    if target not in train.column_names:
        raise UserError(f"there is no column {target!r} to predict{near_matches(target, train.column_names)}")
    parts = encode(train, synthetic, test, kinds=kinds, levels=LEVELS, whole=target)
    if parts[0].sizes.get(target, 0) > LEVELS + 1:
        classes = parts[0].sizes[target] - 1
        raise UserError(
            f"column {target!r} has {classes:,} classes, too many to predict: choose a target of at most {LEVELS}"
        )
    rng = np.random.default_rng(seed)
    parts = [part.rows(np.flatnonzero(~part.missing(target))) for part in parts]
    parts = [some(part, ROWS, rng) if len(part) > ROWS else part for part in parts]
    if not all(map(len, parts)):
        raise TooFewRows(f"column {target!r} has no value in one of the tables: choose another target")
    x = [part.features(target) for part in parts]
    y = [part[target] for part in parts]
    score = score_number if target in parts[0].numbers else score_category
    found = {}
    for name, i in {"real": 0, "synthetic": 1}.items():
        found[name] = score(x[i], y[i], x[2], y[2], parts[0].categorical(target), seed)
    return found


def choose_target(table: pa.Table, kinds: Kinds = None) -> str | None:
    """Choose the last column that is a number, or a category of 2 to 20 classes; None if there is no such column."""
    (rows,) = encode(table, kinds=kinds)
    for name in reversed(table.column_names):
        values = rows[name][~rows.missing(name)]
        if len(values) and (name in rows.numbers or 1 < rows.sizes[name] - 1 <= TARGET_CLASSES):
            return name
    return None


def score_number(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, categorical: np.ndarray, seed: int
) -> dict[str, float]:
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    model = HistGradientBoostingRegressor(categorical_features=categorical, random_state=seed)
    with silent():
        return {"r2": float(r2_score(y_test, model.fit(x, y).predict(x_test)))}


def score_category(
    x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, categorical: np.ndarray, seed: int
) -> dict[str, float]:
    from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

    shares = np.zeros((len(x_test), int(max(y.max(), y_test.max())) + 1))  # of every class, those not learned included
    classes = len(np.unique(y))
    with silent():
        if classes > 1:
            model = classifier(categorical, seed, classes).fit(x, y)
            shares[:, model.classes_] = model.predict_proba(x_test)
        else:
            shares[:, y[0]] = 1
        told = shares.argmax(1)
        areas = [roc_auc_score(y_test == c, shares[:, c]) for c in np.unique(y_test) if (y_test != c).any()]
        return {
            "macro_f1": float(f1_score(y_test, told, average="macro", labels=np.unique(y_test))),
            "auc": float(np.mean(areas)) if areas else math.nan,
            "accuracy": float(accuracy_score(y_test, told)),
        }


def classifier(categorical: np.ndarray, seed: int, classes: int = 2) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    steps = min(100, TREES // classes)
    return HistGradientBoostingClassifier(max_iter=steps, categorical_features=categorical, random_state=seed)


@contextmanager
def silent() -> Iterator[None]:
    """Silence scikit-learn's advice to people who choose its models themselves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def two_sample(real: pa.Table, synthetic: pa.Table, kinds: Kinds = None, *, seed: int = 0) -> dict[str, float]:
    """Can trees tell real rows from as many synthetic ones? (Lopez-Paz and Oquab 2017, arXiv 1610.06545).

    Returns:
        auc, the mean over folds whose rows were not learned from, and the standard_error it would have if there were no
        difference.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    parts = encode(real, synthetic, kinds=kinds, levels=LEVELS)
    n = min(*map(len, parts), ROWS)
    if n < 2 * FOLDS:
        raise TooFewRows(f"{n} rows are too few to tell two tables apart: give at least {2 * FOLDS} of each")
    rng = np.random.default_rng(seed)
    x = np.concatenate([some(part, n, rng).features() for part in parts])
    y = np.repeat([0, 1], n)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with silent():
        areas = cross_val_score(classifier(parts[0].categorical(), seed), x, y, cv=folds, scoring="roc_auc")
    return {"auc": float(areas.mean()), "standard_error": chance_error(n)}


def chance_error(n: int) -> float:
    """Standard error of the AUC of n rows against n others that do not differ (Mann and Whitney 1947)."""
    return math.sqrt((2 * n + 1) / (12 * n * n))


# -- what is given away ------------------------------------------------------------------------------------------------


def copying(
    train: pa.Table, holdout: pa.Table, synthetic: pa.Table, kinds: Kinds = None, *, seed: int = 0
) -> dict[str, float]:
    """Distance to the closest record: are synthetic rows nearer to training rows than to as many that were held out?

    Distances are Euclidean: a number is its rank among the training rows, 0..1, and two categories that differ are 1 apart.

    Returns:
        nearer_to_train: share of the synthetic rows, half of the ties counted; standard_error: that it would have if
        there were no difference and rows were independent; distance_to_train, distance_to_holdout: medians;
        copies, copies_of_holdout: share of the synthetic rows that equal a training row, or a held out one, in every
        column (real tables repeat themselves too, which the second number tells).
    """
    a, b, c = encode(train, holdout, synthetic, kinds=kinds, levels=LEVELS)
    rng = np.random.default_rng(seed)
    n = min(len(a), len(b), ROWS)
    a, b, c = some(a, n, rng), some(b, n, rng), some(c, min(len(c), ROWS), rng)
    to_train, to_holdout = (nearest(c, part, a) for part in (a, b))
    nearer = (to_train < to_holdout).mean() + (to_train == to_holdout).mean() / 2
    known = [{row.tobytes() for row in part.matrix()} for part in (a, b)]
    equal = np.array([[row.tobytes() in rows for rows in known] for row in c.matrix()])
    return {
        "nearer_to_train": float(nearer),
        "standard_error": math.sqrt(0.25 / len(c)),
        "distance_to_train": float(np.median(to_train)),
        "distance_to_holdout": float(np.median(to_holdout)),
        "copies": float(equal[:, 0].mean()),
        "copies_of_holdout": float(equal[:, 1].mean()),
    }


def membership(
    train: pa.Table, holdout: pa.Table, synthetic: pa.Table, kinds: Kinds = None, *, seed: int = 0
) -> dict[str, float]:
    """AUC of two attacks that tell training rows from held-out rows: with the synthetic table alone, and with other real rows too.

    The first calls those rows members that have a synthetic row near (Chen et al. 2020, arXiv 1909.03935). The second
    divides that distance by the one to real rows that were not trained on, and so looks for places where the synthetic
    table is denser than the world (van Breugel et al. 2023, DOMIAS, arXiv 2302.12580; with nearest-neighbour densities).

    Returns:
        distance, density_ratio: the AUC of each; auc: the larger; standard_error: of one of them if there were nothing to
        tell.
    """
    from sklearn.metrics import roc_auc_score

    a, b, c = encode(train, holdout, synthetic, kinds=kinds, levels=LEVELS)
    n = min(len(a), len(b) // 2, ROWS)
    if not n:
        raise TooFewRows("a membership attack needs 1 training row and 2 held-out ones at least")
    rng = np.random.default_rng(seed)
    world = some(b, 2 * n, rng)
    reference, strangers = world.rows(np.arange(n)), world.rows(np.arange(n, 2 * n))
    groups = [some(a, n, rng), strangers]
    to_synthetic = np.concatenate([nearest(part, c, a) for part in groups])
    to_reference = np.concatenate([nearest(part, reference, a) for part in groups])
    member = np.repeat([1, 0], n)
    distance = float(roc_auc_score(member, -to_synthetic))
    ratio = float(roc_auc_score(member, np.log(to_reference + SMALLEST) - np.log(to_synthetic + SMALLEST)))
    return {
        "auc": max(distance, ratio),
        "distance": distance,
        "density_ratio": ratio,
        "standard_error": chance_error(n),
    }


def nearest(rows: Encoded, among: Encoded, scale: Encoded) -> np.ndarray:
    """Distance of each row to the nearest of others, (N,). scale: the rows by which numbers are ranked."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(among.positions(scale))
    distance, _ = index.kneighbors(rows.positions(scale))
    return distance[:, 0].round(6)  # equal rows are a rounding error apart


# -- all of it ---------------------------------------------------------------------------------------------------------


def quality(
    train: pa.Table,
    holdout: pa.Table,
    synthetic: pa.Table,
    target: str | None = None,
    kinds: Kinds = None,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Measure a synthetic table. Returns plain values that JSON can hold.

    Shapes and pairs are measured against the rows held out, as the training rows themselves are: `reference` is that, what
    a perfect table would score.

    Args:
        train: the rows that the model learned from.
        holdout: real rows that it did not see.
        synthetic: best as many rows as `train`.
        target: column to predict, for the efficacy; None: it is left out.

    Returns:
        A measure that needs more rows than there are is left out; "left_out" says why, by its name.
    """
    shapes, pairs = column_shapes(holdout, synthetic, kinds), pair_trends(holdout, synthetic, kinds)
    ordered = sorted(pairs.items(), key=lambda item: item[1])
    found: dict[str, Any] = {
        "rows": {"train": train.num_rows, "holdout": holdout.num_rows, "synthetic": synthetic.num_rows},
        **summary(shapes, pairs),
        "reference": summary(column_shapes(holdout, train, kinds), pair_trends(holdout, train, kinds)),
        "by_column": shapes,
        "by_pair": [[a, b, score] for (a, b), score in ordered],
        "missing": missing_values(holdout, synthetic),
        "left_out": {},
    }
    measures: dict[str, Any] = {
        "two_sample": lambda: two_sample(holdout, synthetic, kinds, seed=seed),
        "copying": lambda: copying(train, holdout, synthetic, kinds, seed=seed),
        "membership": lambda: membership(train, holdout, synthetic, kinds, seed=seed),
    }
    if target is not None:
        found["target"] = target
        measures["efficacy"] = lambda: efficacy(train, synthetic, holdout, target, kinds, seed=seed)
    for name, measure in measures.items():
        try:
            found[name] = measure()
        except TooFewRows as e:
            found["left_out"][name] = str(e)
    return found


def verdict(found: Mapping[str, Any]) -> str:
    """Say in a sentence or two what `quality` found: whether rows can be told apart, and by what."""
    if "two_sample" not in found:
        return f"{found['left_out']['two_sample'].capitalize()}."
    auc = found["two_sample"]["auc"]
    how = "hard to tell" if auc < HARD else "easy to tell" if auc > EASY else "not hard to tell"
    said = (
        f"Synthetic rows are {how} from real ones: trees do so with an AUC of {auc:.3f} (0.5: not at all, 1: always)."
    )
    if auc < HARD:
        return said
    worst = sorted(found["by_column"], key=lambda name: found["by_column"][name])[:WORST]
    return (
        f"{said} The least similar columns: {', '.join(worst)}. Train for longer, or correct their kinds with --schema."
    )


def summary(shapes: Mapping[str, float], pairs: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Means over the columns and over the pairs, and the mean of the two: SDMetrics' overall score."""
    columns = float(np.nanmean(list(shapes.values())))
    both = float(np.mean(list(pairs.values()))) if pairs else math.nan
    return {"column_shapes": columns, "pair_trends": both, "quality": float(np.nanmean([columns, both]))}


def privacy_lines(found: Mapping[str, Any]) -> list[str]:
    """Say what `copying` and `membership` found, by these names, in sentences."""
    lines = []
    if each := found.get("copying"):
        lines.append(
            f"{each['nearer_to_train']:.1%} of the synthetic rows are nearer to training rows than to held-out ones (50 % is right, "
            f"100 % are copies). {each['copies']:.2%} equal a training row, and {each['copies_of_holdout']:.2%} a held-out one."
        )
    if each := found.get("membership"):
        lines.append(
            f"Two attacks with the synthetic table tell training rows from others with an AUC of {each['auc']:.3f} "
            f"(0.5: not at all, 1: always; chance: ± {2 * each['standard_error']:.3f})."
        )
    return [*lines, "This is no proof: a mean hides the rows most at risk, and no model here has differential privacy."]
