"""`vaekit pack`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import COUNT, PLACE, SOURCE_HELP, app, given, say
from vaekit.errors import UserError


@app.command()
def pack(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP + " With --check: the folder of shards.", show_default=False)],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The folder to write.", show_default=False, **PLACE)] = None,
    kind: Annotated[str, typer.Option(help="auto, audio (a folder of sounds), or actions (demonstrations of a robot, written as a folder of LeRobot).")] = "auto",
    column: Annotated[str | None, typer.Option(help="The column of a table whose texts are the data.", show_default=False)] = None,
    resize: Annotated[str | None, typer.Option(help="Resize all pictures to WIDTHxHEIGHT.", show_default=False)] = None,
    metadata: Annotated[str | None, typer.Option(help="Pictures: a .csv file with a column file_name and columns of conditions. Default: metadata.csv in the folder.", show_default=False)] = None,
    schema: Annotated[Path | None, typer.Option(help="Tables: a YAML file that says the kind of each column; see `vaekit schema`.", show_default=False)] = None,
    encoding: Annotated[str | None, typer.Option(help="The encoding of a .txt or .csv file. Default: UTF-8.", show_default=False)] = None,
    decimal: Annotated[str | None, typer.Option(help="The decimal separator of a .csv file, . or , , if its numbers do not show it.", show_default=False)] = None,
    rate: Annotated[int | None, typer.Option(help="Sounds: samples per second. Default: 16000.", show_default=False, **COUNT)] = None,
    seconds: Annotated[float | None, typer.Option(help="Sounds: cut clips to this length. Default: that of the longest.", show_default=False)] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at a file that cannot be read.")] = False,
    rows_per_shard: Annotated[int | None, typer.Option(help="Rows of a part. Default: as many as make about 256 MiB.", show_default=False, **COUNT)] = None,
    check: Annotated[bool, typer.Option("--check", help="Read all parts of the shards SOURCE, and compare them with the manifest.")] = False,
) -> None:  # fmt: skip
    """Write SOURCE as a folder of shards, which `vaekit fit` can train on even if it is larger than the memory. After an interruption, the same command continues where it stopped."""
    from functools import partial

    from vaekit.recipes.pack import check_shards
    from vaekit.recipes.pack import pack as write
    from vaekit.settings.parse import parse_size, read_schema
    from vaekit.show.track import track

    if check:
        faults = check_shards(Path(source), partial(track, what="check"))
        for fault in faults:
            say(fault)
        if faults:
            raise UserError(f"{source} has parts that are missing or damaged: {len(faults)}")
        return say(f"{source} is whole")
    if output is None:
        raise UserError("give the folder to write, with -o SHARDS")
    asked: dict[str, Any] = dict(
        column=column, metadata=metadata, encoding=encoding, decimal=decimal, rate=rate, seconds=seconds,
        resize=parse_size(resize) if resize else None, schema=read_schema(schema) if schema else None,
        strict=strict or None,
    )  # fmt: skip
    try:
        folder = write(source, output, kind=kind, rows_per_shard=rows_per_shard, **given(asked))
    except KeyboardInterrupt:
        say("stopped; the same command continues where it stopped")
        raise typer.Exit(130) from None
    say(described(folder))


def described(folder: Path) -> str:
    """Describe the content of a folder."""
    from vaekit.sources.base import NOUNS
    from vaekit.sources.manifest import MANIFEST, Manifest

    if not (folder / MANIFEST).exists():
        return str(folder)
    found = Manifest.read(folder)
    parts = len(found.shards)
    shape = f" of {'x'.join(map(str, found.shape))}" if found.shape else ""
    size = sum(shard.bytes for shard in found.shards) / 2**20
    given = f", conditions: {', '.join(found.conditions)}" if found.conditions else ""
    noun = {**NOUNS, "text": "texts"}.get(found.kind, "rows")
    return f"{found.rows} {noun}{shape} in {parts} part{'s' * (parts > 1)}, {size:.1f} MiB{given}, in {folder}"
