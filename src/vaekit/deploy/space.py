"""A static Space of the Hugging Face Hub: the explorer's page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vaekit.deploy.explorer.html import check, write_html
from vaekit.files import to_yaml
from vaekit.runs.card import plain, shown_source
from vaekit.runs.hub import CARD


def space_files(
    run: Path, estimator: Any, name: str, folder: Path, licence: str | None
) -> tuple[dict[str, Any], list[str]]:
    """Write the page of a run into a folder. Returns the files of its Space, by name, and what to tell the user before it is sent.

    Args:
        estimator: the run's, on the CPU. name: of the repository of the run, user/name.

    Raises:
        UserError: there is no such page, see `write_html`.
    """
    check(estimator, run)
    shown = write_html(run, estimator, folder / "index.html")
    rows, themselves, noun = shown.model["map"]["rows"], len(shown.tensors["shown.x"]), shown.model["noun"]
    told = (
        f"the Space holds {themselves:,} {noun} of {shown_source(estimator.fitted_)}, and the codes and labels of {rows:,}: whoever opens "
        "it can read them"
    )
    head = {"title": name.partition("/")[2], "sdk": "static", "models": [name], "tags": ["vaekit"]}
    head |= {"license": licence} if licence else {}
    about = f"The latent space of [{name}](https://huggingface.co/{name}), made with `vaekit push --space`. {plain(told[0].upper() + told[1:])}.\n"
    files = {"index.html": str(folder / "index.html"), CARD: f"---\n{to_yaml(head)}---\n\n{about}".encode()}
    return files, [told, *shown.model["notes"]]
