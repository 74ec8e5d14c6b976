"""How normal rows are: scores, p-values, and which rows are anomalies."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import COUNT, Out, Run, Source, app, say
from vaekit.cli.generate import opened
from vaekit.errors import UserError, note

HELD_OUT = "held out of"  # how the origin of calibration rows begins


@app.command()
def score(
    run: Run,
    source: Source,
    name: Annotated[str, typer.Option("--score", help="loglik (log p(x), nats), reconstruction, kl, regret, path (one pass; for pictures), or auto: path for pictures, else loglik.")] = "auto",
    k: Annotated[int | None, typer.Option(help="Importance samples per row, for loglik. Default: 100; 20 for texts.", show_default=False, **COUNT)] = None,
    fdr: Annotated[float | None, typer.Option(help="Decide which rows are anomalies. On average, at most this share of them is normal.", show_default=False)] = None,
    calibrate: Annotated[str | None, typer.Option(metavar="SOURCE", help="Normal rows that training did not see, for p-values. The run remembers them. Default: the rows that the run held out.", show_default=False)] = None,
    contributions: Annotated[bool, typer.Option("--contributions", help="Also write the contribution of each column: nats above its usual value.")] = False,
    output: Out = None,
) -> None:  # fmt: skip
    """Score how normal each row of SOURCE is (high is normal), with a p-value: .csv, .parquet, or .npy with the scores alone.

    P-values are split-conformal: if the normal rows of SOURCE come from the same process as the calibration rows, at most a share a
    of them gets a p-value of at most a. This does not hold for neighbouring steps of a time series.
    """
    import numpy as np
    import pyarrow as pa

    from vaekit.show.write import write_pieces
    from vaekit.training.progress import track
    from vaekit.uses.calibration import Oddness
    from vaekit.uses.conformal import discoveries

    if fdr is not None and not 0 < fdr < 1:
        raise UserError(f"--fdr {fdr}: a false-discovery rate has to be above 0 and below 1")
    estimator, path = opened(run, output, "scores", ".csv", ".parquet", ".npy", sources=[source])
    kind = estimator.kind_
    if not kind.exchangeable:
        if name not in ("auto", "loglik") or fdr or calibrate or contributions:
            raise UserError(
                "steps of a series have only the score loglik, without p-values or contributions, because neighbouring steps are not exchangeable"
            )
        return score_steps(estimator, source, path, k)
    odd = Oddness(estimator.fitted_, name, **({} if k is None else {"k": k}))
    if contributions and not odd.columns:
        raise UserError("--contributions is for tables: pictures and texts have no columns")
    data = estimator.read(source)
    why_not = calibrated(run, estimator, odd, calibrate)
    if why_not and odd.score.learns:
        raise UserError(
            f'score "{odd.score.name}" learns from normal rows, but there are none ({why_not}): give some with --calibrate, or use --score loglik'
        )
    if why_not and fdr is not None:
        raise UserError(f"--fdr needs p-values, but there are none ({why_not}): give normal rows with --calibrate")
    say(f"note: there are no p-values ({why_not}): give normal rows with --calibrate" if why_not else about(odd))
    if fdr is not None and (why := limits(odd, source, len(data), fdr)):
        note(why)
    judged = odd.judge_all(data, shares=contributions, track=partial(track, what="score"))
    if fdr is None and path.suffix.lower() != ".npy":
        write_pieces(path, map(pa.table, judged))
    else:
        found = list(judged)
        columns = {name: np.concatenate([each[name] for each in found]) for name in found[0]}
        if fdr is not None:
            columns["anomaly"] = discoveries(columns["p_value"], fdr)
            anomalies = int(columns["anomaly"].sum())
            say(f"{anomalies} of {len(data)} rows are anomalies at a false-discovery rate of {fdr:g}")
        write_scores(path, columns)
    say(f"{len(data)} scores ({odd.score.name}) in {path}")


def write_scores(path: Path, columns: dict[str, Any]) -> None:
    """Write columns by name; of an .npy the scores alone."""
    from vaekit.show.write import write_array, write_table

    if path.suffix.lower() == ".npy":
        write_array(path, columns["score"], [])
    else:
        write_table(path, columns)


def limits(odd: Any, source: str, rows: int, fdr: float) -> str:
    """Say what --fdr cannot find in these rows, or ""."""
    from vaekit.uses.conformal import limit

    if odd.origin.startswith(HELD_OUT) and is_same(source, odd.fitted.data["source"]):
        return (
            f"{source} is what the model learned from, so its rows are compared with held-out rows of it, which have anomalies as "
            "often: --fdr finds nothing. Score new rows, give normal rows with --calibrate, or take the rows with the lowest "
            "scores"
        )
    cannot = limit(rows, len(odd.calibration), fdr)
    return f"{cannot}: give more normal rows with --calibrate, or score fewer rows at a time" if cannot else ""


def is_same(source: str, own: Any) -> bool:
    """Whether two sources name the same file, whatever rows they pick."""
    from vaekit.sources.base import split_rows

    names = [split_rows(str(each))[0] for each in (source, own)]
    return len({Path(name).expanduser().resolve() for name in names}) == 1


def calibrated(run: Path, estimator: Any, odd: Any, source: str | None) -> str:
    """Calibrate with the given rows, with those that the run remembers, or with those that it held out. Returns "", or why not."""

    if source is not None:
        odd.calibrate(estimator.read(source), source)
    elif odd.read(run):
        return ""
    else:
        rows, why_not = held_out(estimator)
        if why_not:
            return why_not
        odd.calibrate(rows, f"{HELD_OUT} {odd.fitted.data['source']}")
    odd.write(run)
    return ""


def held_out(estimator: Any) -> tuple[Any, str]:
    """Read the rows that the run held out; else None and why."""
    from vaekit.recipes.source import held_out as rows_of
    from vaekit.training.data import split

    expected = len(split(estimator.data_["rows"], estimator.validation, estimator.seed_)[1])
    if not expected:
        return None, "the run held out no rows"
    try:
        rows = rows_of(estimator)
    except UserError as e:
        return None, f"the rows that the run held out cannot be read ({e})"
    if len(rows) != expected:
        return None, f"{estimator.data_['source']} is no longer what the run was trained on"
    return rows, ""


def about(odd: Any) -> str:
    n = len(odd.calibration)
    return f"p-values from {n} calibration rows ({odd.origin}); the smallest possible one is {1 / (n + 1):.2g}"


def score_steps(estimator: Any, source: str, path: Path, k: int | None) -> None:
    """Write log p of each step of a series given those around it."""
    import numpy as np

    data = estimator.read(source)
    found = estimator.score_samples(data.x, k=k)
    scores = np.concatenate(found) if isinstance(found, list) else found
    names = {name: values if data.steps is None else values[data.steps] for name, values in data.names.items()}
    write_scores(path, {"row": np.arange(len(scores)), **names, "score": scores})
    say(f"{len(scores)} scores (mean {np.nanmean(scores):.2f} nats) in {path}")
