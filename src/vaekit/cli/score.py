"""How normal rows are: scores, p-values, and which rows are anomalies."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import COUNT, Device, Run, Source, app, say
from vaekit.cli.generate import opened
from vaekit.cli.many import Address, Engine, PartsOut, Workers, on_many
from vaekit.errors import UserError, note


@app.command()
def score(
    run: Run,
    source: Source,
    name: Annotated[str, typer.Option("--score", help="loglik (log p(x), nats), exemplars (the same, with the codes of training rows as the prior), reconstruction, kl, regret, path (one pass; for pictures), or auto: path for pictures, exemplars for numbers and tables without conditions, else loglik.")] = "auto",
    k: Annotated[int | None, typer.Option(help="Importance samples per row. Default: 100 for loglik, 20 for texts; 8 for exemplars.", show_default=False, **COUNT)] = None,
    fdr: Annotated[float | None, typer.Option(help="Decide which rows are anomalies. On average, at most this share of them is normal.", show_default=False)] = None,
    calibrate: Annotated[str | None, typer.Option(metavar="SOURCE", help="Normal rows that training did not see, for p-values. The run remembers them. Default: the rows that the run held out.", show_default=False)] = None,
    contributions: Annotated[bool, typer.Option("--contributions", help="Also write the contribution of each column: nats above its usual value.")] = False,
    by: Annotated[str, typer.Option(help="Series: what scores a step. window: the windows that hold it; past: the window that ends there; last: the step itself, given the window before it.")] = "window",
    device: Device = "auto",
    workers: Workers = None,
    engine: Engine = None,
    address: Address = None,
    output: PartsOut = None,
) -> None:  # fmt: skip
    """Score how normal each row of SOURCE is (high is normal), with a p-value: .csv, .parquet, or .npy with the scores alone.

    P-values are split-conformal: if the normal rows of SOURCE come from the same process as the calibration rows, at most a share a
    of them gets a p-value of at most a. This does not hold for neighbouring steps of a time series.
    """
    others = {"--fdr": fdr, "--contributions": contributions}
    how: dict[str, Any] = {"score": name, "k": k, "calibrate": calibrate}
    if on_many(run, "score", source, output, device, workers, engine=engine, address=address, others=others, **how):
        return
    import numpy as np
    import pyarrow as pa

    from vaekit.recipes.calibrate import calibrated
    from vaekit.show.track import track
    from vaekit.show.write import write_pieces
    from vaekit.uses.conformal import discoveries

    if fdr is not None and not 0 < fdr < 1:
        raise UserError(f"--fdr {fdr}: a false-discovery rate has to be above 0 and below 1")
    estimator, path = opened(run, output, device, "scores", ".csv", ".parquet", ".npy", sources=[source])
    kind = estimator.kind_
    if not kind.exchangeable:
        if name not in ("auto", "loglik") or fdr or calibrate or contributions:
            raise UserError(
                "steps of a series have only the score loglik, without p-values or contributions, because neighbouring steps are not exchangeable"
            )
        return score_series(estimator, source, path, k, by)
    if by != "window":
        raise UserError(f"--by {by} is for series: leave it out")
    if contributions and not kind.value_names:
        raise UserError("--contributions is for tables: pictures and texts have no columns")
    data = estimator.read(source)
    odd = calibrated(run, estimator, name, {} if k is None else {"k": k}, calibrate)
    if len(odd.scores):
        say(about(odd))
    elif fdr is not None or (odd.score.learns and not odd.score.learned):
        what, other = ("--fdr", "") if fdr is not None else (f"score {odd.score.name}", ", or use --score loglik")
        raise UserError(f"{what} needs normal rows, but {odd.origin}: give some with --calibrate{other}")
    else:
        note(f"there are no p-values, because {odd.origin}: give normal rows with --calibrate")
    if fdr is not None and (why := limits(odd, source, len(data), fdr)):
        note(why)
    judged = odd.judge(data, shares=contributions, track=partial(track, what="score"))
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
    from vaekit.recipes.calibrate import HELD_OUT
    from vaekit.uses.conformal import limit

    if odd.origin.startswith(HELD_OUT) and is_same(source, odd.fitteds[0].data["source"]):
        return (
            f"{source} is what the model learned from, so its rows are compared with held-out rows of it, which have anomalies as "
            "often: --fdr finds nothing. Score new rows, give normal rows with --calibrate, or take the rows with the lowest "
            "scores"
        )
    cannot = limit(rows, len(odd.scores), fdr)
    return f"{cannot}: give more normal rows with --calibrate, or score fewer rows at a time" if cannot else ""


def is_same(source: str, own: Any) -> bool:
    """Whether two sources name the same file, whatever rows they pick."""
    from vaekit.sources.base import split_rows

    names = [split_rows(str(each))[0] for each in (source, own)]
    return len({Path(name).expanduser().resolve() for name in names}) == 1


def about(odd: Any) -> str:
    n = len(odd.scores)
    return f"p-values from {n} calibration rows ({odd.origin}); the smallest possible one is {1 / (n + 1):.2g}"


def score_series(estimator: Any, source: str, path: Path, k: int | None, by: str) -> None:
    """Write log p of each step of series given those around it."""
    import numpy as np

    from vaekit.show.track import track
    from vaekit.uses.steps import score_steps

    data = estimator.read(source)
    scores = score_steps(estimator.fitted_, data.values, k=k, by=by, track=partial(track, what="score"))
    columns = {**data.names, "score": np.concatenate(scores)}
    if data.steps is not None:  # the rows of the table are not its steps
        columns = {name: values[data.steps] for name, values in columns.items()}
    rows = len(columns["score"])
    write_scores(path, {"row": np.arange(rows), **columns})
    say(f"{rows} scores (mean {np.nanmean(columns['score']):.2f} nats) in {path}")
