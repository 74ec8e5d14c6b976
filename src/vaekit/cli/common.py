"""What the verbs share."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.errors import UserError, printable

app = typer.Typer(
    name="vaekit",
    help="Variational autoencoders (VAE) and conditional ones (CVAE), from one command.\n\n"
    "Start with [bold]vaekit fit digits --condition label[/], and open the report it writes.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def folder_or_file(text: str) -> Path:
    """Return the path of an option. An empty one, such as a variable that is not set, would mean the current folder."""
    if not text.strip():
        raise typer.BadParameter("it is empty: give a path")
    return Path(text)


PLACE: dict[str, Any] = dict(parser=folder_or_file, metavar="PATH")  # for options that say where to write


SOURCE_HELP = (
    "The data: [bold]digits[/] (bundled), a folder of pictures (class = subfolder), a picture, a .npy, .npz, .csv, .tsv, "
    ".parquet or .jsonl file, an idx file (Fashion-MNIST's train-images-idx3-ubyte.gz) or a folder of such files, a .txt (one text per line), "
    "FILE.csv:COLUMN (a column of texts), or hf://name from Hugging Face. Pick rows with SOURCE\\[12], SOURCE\\[10:20] or SOURCE\\[0:5,8,-10:]; leave rows out with SOURCE\\[!3,7]."
)
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="The run directory that `vaekit fit` wrote.", show_default=False)
]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)]
Out = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", help="The file to write; its ending decides the format.", show_default=False, **PLACE
    ),
]
Condition = Annotated[
    list[str] | None,
    typer.Option(
        "--condition",
        "-c",
        help="VALUE, or NAME=VALUE; repeat it for several. A condition that you leave out is unknown; `sample` draws it as often as the data has it.",
        show_default=False,
    ),
]


def option(
    help: str, *names: str, panel: str = "Training", min: float | None = None, max: float | None = None, **more: Any
) -> Any:
    def check(value: Any) -> Any:  # typer's own check would take half of the help's width to show the range
        if isinstance(value, int | float) and not ((min is None or value >= min) and (max is None or value <= max)):
            least, most = (
                f"{word} {end:,}" if end is not None else "" for word, end in (("at least", min), ("at most", max))
            )
            raise typer.BadParameter(f"{value} is out of range: give {' and '.join(filter(None, (least, most)))}")
        return value

    limited = None if min is None and max is None else check
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False, callback=limited, **more)


SEED: dict[str, Any] = dict(min=0, max=2**31 - 1)  # seeds that are counted up from it fit, too
COUNT: dict[str, Any] = dict(min=1, max=10**9)


MODEL, DATA, DEVICE = "Model", "Data", "Devices"


def given(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}


def parse_size(text: str) -> tuple[int, int]:
    size = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text.lower())
    if not size:
        raise UserError(f"--resize takes WIDTHxHEIGHT, such as 64x64, not {text!r}")
    return int(size[1]), int(size[2] or size[1])


def parse_map(texts: list[str]) -> dict[str, str]:
    """Turn "state=observation.joints,action=actions" into a dict."""
    pairs = [pair.partition("=") for text in texts for pair in text.split(",")]
    for name, _, key in pairs:
        if not name or not key:
            raise UserError(f"--map takes NAME=KEY, such as state=observation.joints, not {name!r}")
    return {name: key for name, _, key in pairs}


def told(what: str, path: Path) -> None:
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
