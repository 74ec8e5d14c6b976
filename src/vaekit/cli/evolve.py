"""`vaekit evolve`."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import COUNT, PLACE, SEED, Condition, Device, Run, app, option, say
from vaekit.errors import UserError, note

SEARCH, OWN = "Search", "Functions of your own"
RANGE_HELP = "The range of each measure, LOW..HIGH, with commas between measures, such as 0..1,-2..2. Default: that of the data, or of the first generation, and a tenth more."


@app.command()
def evolve(
    run: Run,
    objective: Annotated[str, typer.Option(metavar="TEXT", help="The quantity to make high: likelihood (log p(x)), column:NAME, -column:NAME (to make it low), or FILE.py:NAME, a function of rows -> (n,).")] = "likelihood",
    measures: Annotated[str, typer.Option(metavar="TEXT", help="The measures, which decide the cell of a row: latent (main axes of the codes), pca:2 (main axes of the rows), column:A,B, FILE.py:NAME, a function of rows -> (n, m), or FILE.py:A,B, a function of rows -> (n,) for each measure.")] = "latent",
    cells: Annotated[str, typer.Option(metavar="TEXT", help="Number of cells along each measure.")] = "50x50",
    range_: Annotated[str | None, typer.Option("--range", metavar="TEXT", help=RANGE_HELP, show_default=False)] = None,
    budget: Annotated[int, typer.Option(help="Number of rows to evaluate.", **COUNT)] = 10_000,
    space: Annotated[str, option("What to vary: latent (codes, which are decoded), raw (rows, without the model), or mixed (both; more of what succeeds). Default: mixed, and latent for texts and policies.", panel=SEARCH)] = "auto",
    trust: Annotated[float, option("Rows with a p-value of belonging to the data below this do not enter the archive. Default: 0.", panel=SEARCH, min=0, max=1)] = 0.0,
    condition: Condition = None,
    batch_size: Annotated[int, option("Rows of a generation. Default: 100.", panel=SEARCH, **COUNT)] = 100,
    refit: Annotated[int, option("Train the model again on its rows and the elites each time that this many rows were evaluated. Default: never.", panel=SEARCH, min=0)] = 0,
    seed: Annotated[int, option("The same seed finds the same archive.", panel=SEARCH, **SEED)] = 0,
    resume: Annotated[bool, option("Continue the search in -o.", panel=SEARCH)] = False,
    workers: Annotated[int, option("Processes that call your functions. Default: 1.", panel=OWN, min=1, max=1024)] = 1,
    timeout: Annotated[float, option("The most seconds for a call. After them its process is ended, and its rows are tried one at a time. Default: 60.", panel=OWN, min=0.01)] = 60.0,
    device: Device = "auto",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The folder to write. Default: RUN-evolved.", show_default=False, **PLACE)] = None,
) -> None:  # fmt: skip
    """Find the best row for each cell of a grid, among rows that the model makes, with a p-value of belonging to the data.

    The measures decide the cell of a row. A row that comes from the same source as the data has a p-value of 0.05 or less in at most
    one case of twenty. Needs pip install 'vaekit[evolve]'.
    """
    from vaekit.deploy.explorer.evolved import write_explorer
    from vaekit.deploy.report.evolved import write_evolved
    from vaekit.evolution.archive import MODEL
    from vaekit.evolution.search import evolve as search
    from vaekit.recipes.source import own_source
    from vaekit.runs import directory
    from vaekit.runs.hub import is_borrowed
    from vaekit.runs.load import load
    from vaekit.show.track import track_to

    folder = output or (Path() if is_borrowed(run) else run.parent) / f"{run.resolve().name}-evolved"
    if (folder / directory.CONFIG).exists():
        raise UserError(f"{folder} holds a run, whose report this would replace: choose another folder (-o)")
    check_place(folder)
    grid, ranges = parse_cells(cells), None if range_ is None else parse_ranges(range_)
    estimator = load(run, device=device)
    data = None
    try:
        data = estimator.read(own_source(estimator))
    except UserError as error:
        if trust or refit:
            raise
        note(f"there are no p-values, because the rows that the model was trained on cannot be read ({error})")

    def shown(generations: Iterator[int]) -> Iterable[Any]:
        return track_to(((done, done) for done in generations), budget, "evolve")

    archive = search(
        estimator, objective, measures, X=data, cells=grid, ranges=ranges, budget=budget, space=space, trust=trust,
        condition=estimator.conditions_.parse(condition or []) or None, batch_size=batch_size, refit=refit, seed=seed,
        workers=workers, timeout=timeout, folder=folder, resume=resume, track=shown,
    )  # fmt: skip
    archive.write(folder)
    directory.save(folder / MODEL, archive.fitted)
    try:
        write_explorer(archive, folder)
    except UserError as error:
        note(f"archive.html was not written: {error}")
    write_evolved(archive, folder, archive.settings, shlex.join(["vaekit", *sys.argv[1:]]))
    for line in lines(archive, folder):
        say(line)
    if archive.interrupted:
        say("stopped before its end; the same command with --resume continues")
        raise typer.Exit(130)


def check_place(folder: Path) -> None:
    """UserError if this folder cannot be made or written to, before the model and its rows are read."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UserError(f"{there} is a file: choose another folder (-o)")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(f"{there} cannot be written to ({error.strerror}): choose another folder (-o)") from error


def parse_cells(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.lower().split("x"))
    except ValueError:
        raise UserError(f"--cells {text}: give whole numbers, such as 50x50") from None


def parse_ranges(text: str) -> list[tuple[float, float]]:
    try:
        pairs = [tuple(map(float, part.split(".."))) for part in text.split(",")]
        return [(low, high) for low, high in pairs]
    except ValueError:
        raise UserError(f"--range {text}: give LOW..HIGH for each measure, such as 0..1,-2..2") from None


def lines(archive: Any, folder: Path) -> list[str]:
    """Describe the result of a search, in lines."""
    import numpy as np

    last, cells = archive.history[-1], int(np.prod(archive.cells))
    found = f"{len(archive)} of {cells} cells have an elite ({archive.coverage:.1%})"
    if not np.isnan(archive.valid_coverage):
        found += f", {int(archive.valid.sum())} a valid one ({archive.valid_coverage:.1%}; p-value of belonging to the data >= {archive.trust:g})"
    said = [f"{last['evaluations']:,} rows evaluated: {found}"]
    if len(archive):
        best = archive.best().columns()
        places = ", ".join(f"{name} {best[name][0]:.4g}" for name in archive.names)
        said.append(f"the highest {archive.title} is {best[archive.title][0]:.4g}, at {places}")
    if archive.failed:
        (why, times), *_ = sorted(archive.failed.items(), key=lambda each: -each[1])
        said.append(f"rows that could not be evaluated: {sum(archive.failed.values()):,}; {times:,} of them: {why}")
    for name, what in (
        ("outside", "measures outside the ranges"),
        ("distrusted", f"p-value below {archive.trust:g}"),
    ):
        if many := last[name]:
            said.append(f"rows left out because of {what}: {many:,}")
    page = "; archive.html beside it shows each elite, its children, and two of them bred"
    return [*said, f"look at {folder / 'report.html'}{page if len(archive) else ''}"]
