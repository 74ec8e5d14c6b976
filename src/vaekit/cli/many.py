"""What the verbs share that can write a folder of parts."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import MANY, PLACE, say
from vaekit.errors import UserError

PartsOut = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", help="The file to write; its ending decides the format. A name without an ending is a folder of parts: see --workers.", show_default=False, **PLACE,
    ),
]  # fmt: skip
Workers = Annotated[int | None, typer.Option(help="Processes that write the parts of -o FOLDER, with onnxruntime on the CPU. The same command continues a folder that it began. Default: one per core.", min=1, max=1024, show_default=False, rich_help_panel=MANY)]  # fmt: skip
Engine = Annotated[str | None, typer.Option(help="Write -o FOLDER with ray or spark. SOURCE has to be Parquet files then, and all machines have to reach it.", show_default=False, rich_help_panel=MANY)]  # fmt: skip
Address = Annotated[str | None, typer.Option(help="Address of the cluster: as ray.init takes it, or the master of Spark. Default: this machine.", show_default=False, rich_help_panel=MANY)]  # fmt: skip


def on_many(
    run: Path, verb: str, source: str | None, output: Path | None, device: str, workers: int | None, *, engine: str | None = None,
    address: str | None = None, others: dict[str, Any] | None = None, **how: Any,
) -> bool:  # fmt: skip
    """Whether a folder of parts is wanted, which is then written. others: options that have no meaning for one, by name."""
    wanted = {"--workers": workers, "--engine": engine, "--address": address}
    if output is None or output.suffix or output.name == "-":
        if given := [name for name, value in wanted.items() if value]:
            raise UserError(f"{given[0]} is for a folder of parts: give -o a name without an ending, such as -o parts")
        return False
    if device not in ("auto", "cpu"):
        raise UserError(
            f"--device {device}: the parts of a folder are computed on the CPU: leave it out, or name a file"
        )
    if given := [name for name, value in (others or {}).items() if value]:
        raise UserError(f"{given[0]} is for a file, not for a folder of parts: leave it out, or name a file")
    place = re.sub(r"^(\w+):/", r"\1://", str(output))  # a Path has one slash less
    if "://" in place and not engine:
        raise UserError(
            f"-o {place}: the parts of our own processes lie on a disk: name a folder there, or an --engine"
        )
    if engine:
        from vaekit.distributed.use import use_engine

        say(use_engine(engine, address, run, verb, str(source), place, **how))
    else:
        from vaekit.distributed.use import use

        say(use(run, verb, source, output, workers=workers or os.cpu_count() or 1, **how))
    return True
