"""The source of a run, read as its model wants it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vaekit import sources
from vaekit.errors import UserError
from vaekit.files import to_yaml
from vaekit.runs import directory as runs
from vaekit.sources.base import from_here


def own_source(estimator: Any) -> Any:
    """The source that a run was trained on, as a path from here. UserError if the run does not know it."""
    if not estimator.data_.get("source"):
        raise UserError(
            "this run was trained from Python, so it does not know its source: use Python, or give a SOURCE"
        )
    return from_here(estimator.data_["source"], estimator.data_.get("folder"))


def held_out(estimator: Any, limit: int | None = None, *, also: Sequence[str] = ()) -> Any:
    """The validation rows, or episodes, of the run's own source (all of them, if none were held out)."""
    return estimator.held_out(estimator.read(own_source(estimator), also=also), limit)


def learn_sampler(folder: Path, estimator: Any, sampler: str) -> None:
    """Learn where the codes of the run's own source lie, and keep it in the run directory."""
    data = estimator.read(own_source(estimator))
    estimator.fit_sampler(sampler, data.x, data.conditions)
    runs.save_samplers(folder, estimator.fitted_)


def schema_text(source: str) -> str:
    """Write the guessed schema of a table as YAML, one line per column, to edit and give to `vaekit fit --schema`."""
    from vaekit.kinds.table import Table, describe, setting_of

    data = sources.read(source)
    if data.kind != "table":
        raise UserError(f"{source} is not a table: only .csv and .parquet files have a schema")
    lines = ["# kinds: real, integer, positive, bounded, date, binary, categorical, ordinal (classes in order), drop"]
    table = Table.infer(data.x)
    for name in data.x.columns:
        why = table.left_out.get(name)
        own = {"kind": "drop"} if why else setting_of(table.schema[name])
        about = f"looks like an identifier: {why}" if why else describe(table.schema[name])
        key, value = (
            to_yaml(v, default_flow_style=True, width=10**6).removesuffix("...\n").strip() for v in (name, own)
        )
        lines.append(f"{key}: {value}  # {' '.join(about.split())}")
    return "\n".join(lines) + "\n"
