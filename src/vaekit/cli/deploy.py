"""A run as files that run anywhere, and as a page to play with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import COUNT, PLACE, Run, app, given, say


@app.command()
def export(
    run: Run,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write. For a policy it may be a .onnx file.", show_default=False, **PLACE)],
    k: Annotated[int | None, typer.Option(help="Importance samples of the score, if it is log p(x). Default: 100 for loglik, 20 for texts; 8 for exemplars.", show_default=False, **COUNT)] = None,
    execute: Annotated[str | None, typer.Option(help="Policies: ensemble, or how many actions of each chunk to play. Default: the run's own.", show_default=False)] = None,
    z: Annotated[str | None, typer.Option(help="Policies: episode, chunk or mean. Default: the run's own.", show_default=False)] = None,
    html: Annotated[bool, typer.Option("--html", help="Write the page of `vaekit explore` as one file, which needs neither Python nor a network.")] = False,
) -> None:  # fmt: skip
    """Write a run as a folder of ONNX graphs, which `vaekit.runtime` uses without PyTorch: it encodes, decodes, samples, scores, fills gaps and acts."""
    from functools import partial

    from vaekit.errors import note
    from vaekit.robots.rollout import load_policy
    from vaekit.runs.load import load
    from vaekit.show.track import track

    if html:
        return export_html(run, output, given({"--k": k, "--execute": execute, "--z": z}))
    if output.suffix.lower() == ".onnx":
        from vaekit.deploy.policy import export_policy

        path = export_policy(load_policy(run, execute=execute, z=z), output)
        return say(f"{path}; try it with: vaekit rollout {path} --env ENV")
    from vaekit.deploy.export import check, check_folder
    from vaekit.deploy.export import export as write
    from vaekit.recipes.calibrate import calibrated

    check_folder(output)
    estimator = load_policy(run, execute=execute, z=z) if execute or z else load(run, device="cpu")
    check(estimator)
    odd, kind = None, estimator.kind_
    if kind.exchangeable and not kind.why_not("scores"):
        odd = calibrated(run, estimator, "auto", {"k": k} if k else {}, keep=not k)
    for text in write(estimator, output, odd=odd, k=k, track=partial(track, what="export")):
        note(text)
    say(f"{output}; in Python: model = vaekit.runtime.load({str(output)!r})")


def export_html(run: Path, output: Path, others: dict[str, Any]) -> None:
    from vaekit.deploy.explorer.html import check, write_html
    from vaekit.errors import UserError, note
    from vaekit.runs.load import load

    if others:
        raise UserError(f"{next(iter(others))} is for files of graphs, not for --html: leave it out")
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"{output} has to end in .html: it is a page")
    estimator = load(run, device="cpu")
    check(estimator, run)
    shown = write_html(run, estimator, output)
    for text in shown.model["notes"]:
        note(text)
    say(f"{output} ({output.stat().st_size / 1e6:.1f} MB); open it in any browser")


@app.command()
def explore(
    run: Run,
    port: Annotated[int, typer.Option(help="The port of 127.0.0.1 to listen on. 0: any free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
) -> None:  # fmt: skip
    """Play with a run, or with an archive of `vaekit evolve`, in the browser: a map of its codes, what each place decodes to, and how far to trust it. `vaekit export RUN --html` writes the same page as one file."""
    from vaekit.deploy.explorer.evolved import archive_scene
    from vaekit.deploy.explorer.scene import check, scene
    from vaekit.deploy.explorer.server import Explorer, check_port, serve
    from vaekit.errors import note
    from vaekit.evolution.archive import FILE, Archive
    from vaekit.runs.load import load

    check_port(port)
    if (run / FILE).exists():
        shown = archive_scene(Archive.read(run), run)
    else:
        estimator = load(run, device="cpu")
        check(estimator, run)
        shown = scene(run, estimator)
    for text in shown.model["notes"]:
        note(text)
    serve(Explorer(shown, port), browser, say)
