"""What you do with a run: new rows, codes, paths between rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import (
    COUNT,
    SEED,
    Condition,
    Device,
    Out,
    Run,
    Source,
    app,
    given,
    results_folder,
    say,
    say_where,
)
from vaekit.cli.many import Address, Engine, PartsOut, Workers, on_many
from vaekit.errors import UserError

Temperature = Annotated[float | None, typer.Option(help="Texts: draw each token; a higher number gives more varied texts. Default: 0, the likeliest token each time.", show_default=False)]  # fmt: skip
TopP = Annotated[float | None, typer.Option(help="Texts: draw each token from the likeliest ones, whose probabilities add up to this.", show_default=False)]  # fmt: skip
RepetitionPenalty = Annotated[float | None, typer.Option(help="Texts: make tokens that the text already has less likely, for example with 1.2. Default: 1.", show_default=False)]  # fmt: skip
MaxLength = Annotated[int | None, typer.Option(help="Texts: the most tokens of a text.", show_default=False)]  # fmt: skip


@app.command()
def sample(
    run: Run,
    n: Annotated[int, typer.Option("-n", help="Number of rows.", **COUNT)] = 64,
    condition: Condition = None,
    temperature: Annotated[float, typer.Option(help="Factor for the spread of z, or in texts of each token. Below 1 rows are more typical, above 1 more varied.")] = 1.0,
    top_p: TopP = None,
    repetition_penalty: RepetitionPenalty = None,
    max_length: MaxLength = None,
    guidance: Annotated[float, typer.Option(help="Strengthen the condition: with 1 its effect doubles, and rows vary less.")] = 0.0,
    where: Annotated[list[str] | None, typer.Option(help="Tables: a condition that all rows fulfil, such as 'sex=Female' or 'age>=40'; repeat it for several.", show_default=False)] = None,
    sampler: Annotated[str | None, typer.Option(help="Where z comes from: prior, gmm or flow. gmm and flow are learned on the codes of the run's source at their first use.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same samples; use another one for more rows.", **SEED)] = 0,
    device: Device = "auto",
    workers: Workers = None,
    output: PartsOut = None,
) -> None:  # fmt: skip
    """Draw new rows from a trained model and write .png, .gif, .npy, .npz, .csv or .parquet; texts are printed, or go to a .txt."""
    others = {
        "--top-p": top_p, "--repetition-penalty": repetition_penalty, "--max-length": max_length, "--guidance": guidance,
        "--where": where, "--sampler": sampler,
    }  # fmt: skip
    how = {"condition": condition or [], "temperature": temperature, "seed": seed}
    if on_many(run, "sample", None, output, device, workers, others=others, n=n, work=how):
        return
    from vaekit.recipes.source import learn_sampler
    from vaekit.show.track import track

    estimator, path = opened(run, output, device, "samples")
    y = estimator.conditions_.parse(condition or [])
    if sampler and sampler not in ("auto", "prior", *estimator.samplers_):
        learn_sampler(run, estimator, sampler)
    rows = estimator.sample(
        n,
        y,
        where=where or None,
        sampler=sampler,
        temperature=temperature,
        guidance=guidance,
        random_state=seed,
        track=partial(track, what="search"),
        **given({"top_p": top_p, "repetition_penalty": repetition_penalty, "max_length": max_length}),
    )
    estimator.kind_.write(path, rows)
    say_where(f"{n} samples", path)


@app.command()
def reconstruct(
    run: Run,
    source: Source,
    to: Annotated[list[str] | None, typer.Option(help="Decode with another condition: VALUE, or NAME=VALUE; repeat it for several. SOURCE is encoded with its own conditions.", show_default=False)] = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    repetition_penalty: RepetitionPenalty = None,
    max_length: MaxLength = None,
    device: Device = "auto",
    output: Out = None,
) -> None:  # fmt: skip
    """Encode SOURCE and decode it again. A .png shows originals beside reconstructions, and so do texts."""
    estimator, path = opened(run, output, device, "reconstructions", sources=[source])
    data = estimator.read(source)
    writing = given(
        {"temperature": temperature, "top_p": top_p, "repetition_penalty": repetition_penalty, "max_length": max_length}
    )
    if to:
        writing["to"] = {**data.conditions, **estimator.conditions_.parse(to)}
    rows = estimator.reconstruct(data.x, data.conditions, **writing)
    say_where(estimator.kind_.write_reconstructions(path, data.x, rows, data.names), path)


@app.command()
def impute(
    run: Run,
    source: Source,
    draws: Annotated[int | None, typer.Option(help="Write this many files, each with another draw for the gaps (multiple imputation). Default: one file with the best guess.", show_default=False, **COUNT)] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws.", **SEED)] = 0,
    device: Device = "auto",
    workers: Workers = None,
    engine: Engine = None,
    address: Address = None,
    output: PartsOut = None,
) -> None:  # fmt: skip
    """Fill the gaps of SOURCE (in texts each ___, which stands for one word). Known values stay as they are. --draws writes numbered files."""
    cluster: dict[str, Any] = {"engine": engine, "address": address}
    if on_many(
        run, "impute", source, output, device, workers, **cluster, others={"--draws": draws}, work={"seed": seed}
    ):
        return
    from vaekit.show.track import track
    from vaekit.show.write import STDOUT

    estimator, path = opened(run, output, device, "imputed", sources=[source])
    data = estimator.read(source)

    def fill(first: int, x: Any, y: Any, piece: int) -> Any:
        random = first + 1009 * piece
        found = estimator.impute(x, y, draws=draws and 1, random_state=random, track=partial(track, what="impute"))
        return found[0] if draws else found

    for i in range(draws or 1):
        to = path.with_stem(f"{path.stem}-{i + 1}") if draws and path != STDOUT else path
        estimator.kind_.write(to, estimator.kind_.in_pieces(data, partial(fill, seed + i)), data.names)
        say_where(f"{len(data)} rows", to)


@app.command()
def schema(source: Source, output: Out = None) -> None:
    """Write the guessed kind of each column of a table as YAML: edit it, and give it to `vaekit fit --schema`."""
    from vaekit.files import write_text
    from vaekit.recipes.source import schema_text

    text = schema_text(source)
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)
        say(f"edit {output}, then: vaekit fit {source} --schema {output}")


@app.command()
def encode(
    run: Run,
    source: Source,
    device: Device = "auto",
    workers: Workers = None,
    engine: Engine = None,
    address: Address = None,
    output: PartsOut = None,
) -> None:
    """Write the latent codes (posterior means) of SOURCE: .npy, .csv or .parquet."""
    if on_many(run, "encode", source, output, device, workers, engine=engine, address=address):
        return
    from vaekit.show.write import write_array

    estimator, path = opened(run, output, device, "latents", ".csv", ".npy", ".parquet", sources=[source])
    data = estimator.read(source)
    codes = estimator.transform(data.x, data.conditions)
    names = data.names if len(codes) == len(data) else {}  # a window of a series has none
    write_array(path, codes, [f"z{i}" for i in range(codes.shape[1])], names)
    say(f"{len(codes)} rows of {codes.shape[1]} latent units in {path}")


@app.command()
def interpolate(
    run: Run,
    a: Annotated[
        str, typer.Argument(metavar="A", help="A file, a row of a source such as SOURCE\\[12], or, for a model of texts, a text.", show_default=False)
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The other end.", show_default=False)],
    steps: Annotated[int, typer.Option(help="Number of points, both ends included.", min=2, max=10_000)] = 9,
    path_: Annotated[str | None, typer.Option("--path", help="linear (default), spherical (default for texts) or geodesic (the decoded rows change least).", show_default=False)] = None,
    condition: Condition = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    repetition_penalty: RepetitionPenalty = None,
    max_length: MaxLength = None,
    device: Device = "auto",
    output: Out = None,
) -> None:  # fmt: skip
    """Walk through the latent space from A to B and write .png (a strip), .gif, .npy or .csv; texts are printed, or go to a .txt."""
    import torch

    from vaekit.uses.interpolate import smoothness

    estimator, path = opened(run, output, device, "interpolation", sources=[a, b])
    y = estimator.conditions_.parse(condition or [])
    ends = [one_row(estimator, end) for end in (a, b)]
    writing = given(
        {"temperature": temperature, "top_p": top_p, "repetition_penalty": repetition_penalty, "max_length": max_length}
    )
    rows = estimator.interpolate(*ends, steps, y, path=path_, **writing)
    estimator.kind_.write_path(path, ends, rows)
    if not estimator.kind_.numeric:
        return say_where(f"{steps} steps", path)
    found = smoothness(torch.from_numpy(rows.astype("float64")))
    say(
        f"{steps} steps in {path}; the decoded rows change by {found['length']:.4g} in all, {found['detour']:.2f} times as much as "
        f"along a straight line, and the largest step is {found['evenness']:.2f} times the mean step"
    )


def one_row(estimator: Any, source: str) -> Any:
    """Read a source of one row. What a user types may be the row itself."""
    if (typed := estimator.kind_.typed(source)) is not None:
        return typed
    data = estimator.read(source, conditions=False)
    if len(data) != 1:
        raise UserError(f"{source} has {len(data)} rows: choose one, such as {source}[0]")
    return data.x[0]


def opened(
    run: Path, output: Path | None, device: str, name: str, *endings: str, sources: Sequence[str] = ()
) -> tuple[Any, Path]:
    """Return the run's estimator, and a checked path to write to. By default this is NAME in the run directory, or STDOUT for rows
    that are printed. endings: of the file; by default those of files of rows."""
    from vaekit.runs.load import load
    from vaekit.show.write import STDOUT, check_suffix
    from vaekit.sources.base import split_rows

    if output is not None and output.exists():
        files = (os.path.expanduser(split_rows(source)[0]) for source in sources)
        if any(os.path.isfile(file) and output.samefile(file) for file in files):
            raise UserError(f"-o {output} is the source itself, which would be lost: choose another file")
    estimator = load(run, device=device, form="arrow")  # which writes whole numbers as such where some are missing
    kind = estimator.kind_
    if why := kind.why_not(name):
        raise UserError(f"{run} {why}")
    if not estimator.model_.latent_dim and name in ("latents", "interpolation", "reconstructions"):
        raise UserError(
            f"{run} is a language model and has no latent: train one that has, for example with --latent-dim 16"
        )
    if output is None and not endings and kind.printed:
        return estimator, STDOUT
    endings = endings or tuple(kind.endings)
    path = output or results_folder(run) / (name + endings[0])
    check_suffix(path, endings)
    return estimator, path
