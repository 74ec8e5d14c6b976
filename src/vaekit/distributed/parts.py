"""A folder of parts: what it is made of, what is done, and what is left.

DIR/_parts.json           written first: the model, the source, what is done with its rows, and which rows are in which part
DIR/part-00000.parquet    whole or absent
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vaekit.distributed.work import SLICE
from vaekit.errors import UserError
from vaekit.files import read_text, write_text

MANIFEST, FORMAT = "_parts.json", 1  # what reads a folder of Parquet files passes over such a name
USUAL, LEAST, MOST = 64, 4 * SLICE, 1024 * SLICE  # parts of a source, and rows of a part


@dataclass
class Parts:
    """The parts of a folder.

    Attributes:
        verb: see `vaekit.distributed.work.GRAPHS`. options: of the verb, plain values. model: a hash of the model.
        rows: of the source, or that are drawn. source: its fingerprint.
    """

    folder: Path
    verb: str
    options: dict[str, Any]
    model: str
    rows: int
    source: str | None = None
    format: int = FORMAT

    @property
    def size(self) -> int:
        """Rows of a part but the last: a function of the number of rows alone."""
        share = -(-self.rows // (USUAL * SLICE)) * SLICE
        return min(max(share, LEAST), MOST)

    def __len__(self) -> int:
        return -(-self.rows // self.size)

    def span(self, part: int) -> tuple[int, int]:
        """The first row of a part, and that after its last."""
        return part * self.size, min((part + 1) * self.size, self.rows)

    def slices(self, part: int) -> int:
        """The number of slices of 1024 rows."""
        start, stop = self.span(part)
        return (stop - start) // SLICE

    def path(self, part: int) -> Path:
        return self.folder / f"part-{part:05d}.parquet"

    @property
    def left(self) -> list[int]:
        return [part for part in range(len(self)) if not self.path(part).exists()]

    @property
    def said(self) -> dict[str, Any]:
        """The content of the manifest."""
        return {name: value for name, value in asdict(self).items() if name != "folder"} | {
            "rows_per_part": self.size,
            "parts": len(self),
        }

    def check(self) -> None:
        """UserError if there is a manifest that says something else."""
        file = self.folder / MANIFEST
        if not file.exists():
            return
        try:
            known = dict(json.loads(read_text(file)))
        except (OSError, ValueError, TypeError):
            raise UserError(f"{file} is not of vaekit, or is damaged: choose a new folder") from None
        for name, value in json.loads(json.dumps(self.said)).items():
            if known.get(name) != value:
                what = {"model": "another model", "source": "another source, or of one that has changed"}
                raise UserError(
                    f"{self.folder} holds the parts of {what.get(name, f'a command with another {name!r}')}: choose a new folder, "
                    "or delete this one"
                )

    def claim(self) -> None:
        """Write the manifest."""
        write_text(self.folder / MANIFEST, json.dumps(self.said, indent=1) + "\n")


def check_folder(folder: Path) -> None:
    """UserError for a folder of other files."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose a folder, or a name with an ending, such as {folder}.parquet")
    others = [path for path in folder.glob("*") if not path.name.startswith(".")]
    if others and not (folder / MANIFEST).exists():
        raise UserError(f"{folder} holds other files: choose a new folder")
