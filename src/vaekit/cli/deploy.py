"""A run as files that run anywhere, and as a page to play with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli.common import COUNT, PLACE, Run, app, say


@app.command()
def export(
    run: Run,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write, or of a policy alone a .onnx file.", show_default=False, **PLACE)],
    k: Annotated[int | None, typer.Option(help="Importance samples of the score, if it is log p(x). Default: 100; 20 for texts.", show_default=False, **COUNT)] = None,
    execute: Annotated[str | None, typer.Option(help="Policies: ensemble, or how many actions of each chunk to play. Default: the run's own.", show_default=False)] = None,
    z: Annotated[str | None, typer.Option(help="Policies: episode, chunk or mean. Default: the run's own.", show_default=False)] = None,
) -> None:  # fmt: skip
    """Write a run as a folder of ONNX graphs, which `vaekit.runtime` uses without PyTorch: it encodes, decodes, samples, scores, fills gaps and acts."""
    from functools import partial

    from vaekit.errors import note
    from vaekit.robots.rollout import load_policy
    from vaekit.runs.load import load
    from vaekit.show.track import track

    if output.suffix.lower() == ".onnx":
        from vaekit.deploy.policy import export_policy

        path = export_policy(load_policy(run, execute=execute, z=z), output)
        return say(f"{path}; try it with: vaekit rollout {path} --env ENV")
    from vaekit.deploy.export import export as write
    from vaekit.recipes.calibrate import calibrated

    estimator = load_policy(run, execute=execute, z=z) if execute or z else load(run, device="cpu")
    scored = estimator.kind_.exchangeable and not estimator.kind_.why_not("scores")
    odd = calibrated(run, estimator) if scored else None
    for text in write(estimator, output, odd=odd, k=k, track=partial(track, what="export")):
        note(text)
    say(f"{output}; in Python: model = vaekit.runtime.load({str(output)!r})")
