"""A run in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaekit.runs.directory import CONFIG, EVALUATION, REPORT, read_config, source_of
from vaekit.runs.load import load
from vaekit.training.checkpoint import CHECKPOINT, METRICS, MODEL


def describe_run(folder: Path) -> str:
    """Describe a run on one page: data, model, training, files."""
    values, estimator = read_config(folder), load(folder)
    data, model, history = values["data"], estimator.model_, estimator.history_
    parameters = sum(p.numel() for p in model.parameters())
    lines = [
        f"{values['estimator']} of {data['rows']} rows from {source_of(data) or 'Python'}, vaekit {values['vaekit']}",
        f"data        {estimator.kind_.extent}",
        *[f"            {line}" for line in estimator.kind_.describe()],
        *[f"condition   {name}: {explain(c)}" for name, c in data["conditions"].items()],
        f"likelihood  {values['likelihood']['name']}",
        f"model       {type(model).__name__} of {', '.join(type(part).__name__ for part in model.children())}",
        f"size        {model.latent_dim} latent units, {parameters:,} parameters",
        f"objective   {estimator.objective}",
        f"samplers    {', '.join(['prior', *estimator.samplers_])}",
    ]
    if history:
        last = history[-1]
        lines.append(f"training    {last['epoch']:.0f} epochs, {last['step']:.0f} steps, {last['seconds']:.0f} s")
        scored = [row for row in history if "valid_elbo" in row]
        if scored and estimator.training().keep == "best":
            best = max(scored, key=lambda row: row["valid_elbo"])
            lines.append(f"best epoch  {best['epoch']:.0f}: validation ELBO {best['valid_elbo']:.2f} nats")
    files = [name for name in (CONFIG, MODEL, METRICS, CHECKPOINT, EVALUATION, REPORT) if (folder / name).exists()]
    return "\n".join([*lines, f"files       {', '.join(files)}"])


def explain(condition: dict[str, Any]) -> str:
    if condition["kind"] == "number":
        return f"{len(condition['mean'])} number(s)"
    if condition["kind"] == "picture":
        return f"a picture of {condition['width']}x{condition['height']} pixels"
    shown = ", ".join(map(str, condition["classes"][:10]))
    return f"one of {len(condition['classes'])} labels ({shown}{', ...' if len(condition['classes']) > 10 else ''})"
