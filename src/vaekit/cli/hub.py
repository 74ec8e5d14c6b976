"""`vaekit push`."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import Run, app, say
from vaekit.errors import note


@app.command()
def push(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="USER/NAME", help="The repository, which is made if it does not exist.", show_default=False)],
    revision: Annotated[str | None, typer.Option(metavar="BRANCH", help="The branch, which is made if it does not exist. Default: main.", show_default=False)] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a repository that only you can see.")] = False,
    message: Annotated[str | None, typer.Option(help="The message of the commit.", show_default=False)] = None,
    licence: Annotated[str | None, typer.Option(metavar="ID", help="The licence in the card, as the Hub writes it: apache-2.0, mit, cc-by-4.0, ...", show_default=False)] = None,
    space: Annotated[bool, typer.Option("--space", help="Also make a static Space of the same name: the page of `vaekit explore`. It shows rows of the training data.")] = False,
) -> None:  # fmt: skip
    """Share a run on the Hugging Face Hub, with a model card that says what it is and how good it is. `vaekit sample hf://USER/NAME` uses it from there."""
    from vaekit.runs import hub
    from vaekit.runs.card import write_card
    from vaekit.runs.load import load

    hub.check_push(name, revision)
    estimator = load(run, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, Any] = {}
        if space:
            from vaekit.deploy.space import space_files

            files, notes = space_files(run, estimator, name, Path(folder), licence)
            for text in notes:
                note(text)
        address = hub.said(name, revision)
        write_card(run, estimator.fitted_, address=address, licence=licence)
        say(hub.push(run, name, revision=revision, private=private, message=message))
        say(f"use it with: {estimator.kind_.first_steps(address)[0]}; in Python: vaekit.load({address!r})")
        if space:
            say(hub.commit(name, files, [], kind="space", private=private, message=message or "Page of the run"))
