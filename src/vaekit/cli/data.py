"""`vaekit data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli.common import PLACE, app, say


@app.command()
def data(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="clothes, people, captions, taxi, messages or notes. Without it: a list of them, with their licences.", show_default=False)] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The file or the folder to write. Default: in the current folder.", show_default=False, **PLACE)] = None,
) -> None:  # fmt: skip
    """Write a small set of data that comes with vaekit, and say what to run next; or list the sets. Nothing is replaced."""
    from vaekit.bundled import BUNDLED, listing, write

    if name is None:
        return print(listing())
    path = write(name, output)
    say(f"{BUNDLED[name].rows} {BUNDLED[name].what}, in {path}")
    say(f"next: {BUNDLED[name].next(path)}")
