"""What the verbs share."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.errors import printable
from vaekit.settings.options import TRAINING

app = typer.Typer(
    name="vaekit",
    help="Variational autoencoders (VAE) and conditional ones (CVAE), from one command.\n\n"
    "Start with [bold]vaekit fit digits --condition label[/], and open the report it writes.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    # With a default for --help typer has no value to convert: for that it would import pydantic.
    context_settings={"help_option_names": ["-h", "--help"], "default_map": {"help": False}},
)


def folder_or_file(text: str) -> Path:
    """Return the path of an option. An empty one, such as a variable that is not set, would mean the current folder."""
    if not text.strip():
        raise typer.BadParameter("it is empty: give a path")
    if "\0" in text:
        raise typer.BadParameter("it holds a NUL character, which no path can have")
    return Path(text)


MANY = "On many processes or machines"  # a panel of options
PLACE: dict[str, Any] = dict(parser=folder_or_file, metavar="PATH")  # for options that say where to write


SOURCE_HELP = (
    "The data: [bold]digits[/] (bundled), a folder of pictures (class = subfolder), a picture, a .npy, .npz, .csv, .tsv, "
    ".parquet or .jsonl file, an idx file (train-images-idx3-ubyte.gz), a folder of .parquet or idx files (also s3://...), shards of "
    "[bold]vaekit pack[/], a .txt (one text per line), FILE.csv:COLUMN (a column of texts), or hf://name from Hugging Face. Pick rows with SOURCE\\[12], SOURCE\\[10:20] or SOURCE\\[0:5,8,-10:]; leave rows out with SOURCE\\[!3,7]."
)


def fetched(run: Path) -> Path:
    """The folder of a RUN. One on the Hub is fetched; what a verb writes beside it is gone at the end."""
    from vaekit.runs.hub import borrowed

    return borrowed(run)


def results_folder(run: Path) -> Path:
    """The folder of results for which the user names no file: the run, or for a run on the Hub the current folder."""
    from vaekit.runs.hub import is_borrowed

    return Path() if is_borrowed(run) else run


RUN: dict[str, Any] = dict(metavar="RUN", callback=fetched, show_default=False)
Run = Annotated[
    Path,
    typer.Argument(
        help="The run directory that `vaekit fit` wrote, or hf://user/name from the Hugging Face Hub.", **RUN
    ),
]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", help="The file to write; its ending decides the format.", show_default=False, **PLACE
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.")]
Condition = Annotated[
    list[str] | None,
    typer.Option(
        "--condition",
        "-c",
        help="VALUE, or NAME=VALUE; repeat it for several. A condition that you leave out is unknown; `sample` draws it as often as the data has it.",
        show_default=False,
    ),
]


def option(help: str, *names: str, panel: str = TRAINING, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, **more)


SEED: dict[str, Any] = dict(min=0, max=2**31 - 1)  # seeds that are counted up from it fit, too
COUNT: dict[str, Any] = dict(min=1, max=10**9)


def given(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}


def say_where(what: str, path: Path) -> None:
    """Say what was written to a file; say nothing if it was printed."""
    if path.name != "-":
        say(f"{what} in {path}")


def say(line: str) -> None:
    """Tell the user. If there are several processes, only the first speaks."""
    if os.environ.get("RANK", "0") == os.environ.get("LOCAL_RANK", "0") == "0":
        line = printable(line)
        if sys.stderr.isatty():  # which would break the line inside a word
            line = textwrap.fill(
                line, shutil.get_terminal_size().columns, break_long_words=False, break_on_hyphens=False
            )
        print(line, file=sys.stderr)


class Log:
    """A stream that never fails: if its reader goes away or its disk is full, the work goes on."""

    def __init__(self, stream: Any):
        self.stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)
