"""`vaekit tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import PLACE, SOURCE_HELP, option, say
from vaekit.cli.fit import CONFIG_HELP, PRESET_HELP, SET_HELP, filled, register
from vaekit.settings.options import DATA, MODEL

SEARCH = "Search"


def tune(
    source: Annotated[list[str] | None, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)] = None,
    out: Annotated[Path, option("The folder of the search. Processes that name the same folder search together; the same command again continues it.", "--out", "-o", panel=SEARCH, **PLACE)] = ...,  # type: ignore[assignment]
    trials: Annotated[int, option("How many trials, of all processes together. Default: 50.", min=1, panel=SEARCH)] = 50,
    search: Annotated[list[str] | None, option("Search this setting, too, or in other values: NAME, NAME=low..high or NAME=a,b,c, such as latent_dim=4..32, posterior or prior.components=10..500; repeat it for several.", panel=SEARCH, metavar="TEXT")] = None,
    search_minutes: Annotated[float | None, option("Begin no trial after this many minutes.", min=0, panel=SEARCH)] = None,
    config: Annotated[Path | None, option(CONFIG_HELP, panel=DATA)] = None,
    preset: Annotated[str | None, option(PRESET_HELP, panel=MODEL, metavar="TEXT")] = None,
    set_: Annotated[list[str] | None, option(SET_HELP, "--set", panel=MODEL, metavar="TEXT")] = None,
    **settings: Any,
) -> None:  # fmt: skip
    """Search for the settings with the highest bound on held-out rows. Options are those of `vaekit fit`: what you give is fixed, and the rest is searched."""
    from vaekit.deploy.report.search import write_search
    from vaekit.recipes.recipe import Recipe
    from vaekit.recipes.tune import tune as run

    recipe, fixed = filled(Recipe.read(config) if config else Recipe(), source, preset, set_, settings)
    found = run(recipe, out, trials=trials, minutes=search_minutes, search=search or [], fixed=fixed, say=say)
    if found.best or not found.interrupted:
        with found.study.claimed():
            best, page = found.save(), write_search(found)
        for text in found.lines(best):
            say(text)
        say(f"look at {page}")
    if found.interrupted:
        say(f"stopped after {found.ended} of {trials} trials; the same command continues")
        raise typer.Exit(130)


register(tune)
