"""A folder of shards, and what its _manifest.json says about it.

`vaekit pack` writes the folder: parts of some hundred MiB in Parquet, and a manifest once all of them are there.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.files import plain_file

FORMAT = 1
MANIFEST = "_manifest.json"  # what else reads a folder of Parquet files passes over such a name
PART = "part-{:05d}.parquet"
X = "x"  # the column of pictures, rows, clips and texts; a table has its own columns
AGAIN = "restore it from a copy, or remove it and pack the source again"
NONE = type(None)
TYPES = {
    "kind": str, "name": str, "rows": int, "shape": (list, NONE), "dtype": (str, NONE), "columns": (list, NONE),
    "conditions": list, "names": list, "extra": dict, "shards": list, "vaekit": str, "format": int,
}  # fmt: skip
TYPES_OF_A_SHARD = {"file": str, "rows": int, "bytes": int, "sha256": str}


@dataclass
class Shard:
    """A part: the name of its file, its rows, its size in bytes and the SHA-256 of its content."""

    file: str
    rows: int
    bytes: int
    sha256: str

    def fault(self, folder: Path, whole: bool = True) -> str:
        """Describe what is wrong with the file in a folder, or return "". whole: also compare its content, which reads all of it."""
        path = folder / self.file
        try:
            size = plain_file(path).stat().st_size
            if size != self.bytes:
                return f"{path} has {size} bytes, not {self.bytes}: {AGAIN}"
            if whole and hash_of(path) != self.sha256:
                return f"{path} was changed, or is damaged: {AGAIN}"
        except FileNotFoundError:
            return f"{path} does not exist: {AGAIN}"
        except OSError as e:
            return f"{path} cannot be read ({e.strerror or e}): {AGAIN}"
        return ""


@dataclass
class Manifest:
    """The facts about all rows of a folder of shards.

    Attributes:
        kind: of `vaekit.sources.Dataset`. name: a short name of the source.
        rows: of all parts. shape, dtype: of an x in the user's own layout, such as [28, 28] and "uint8"; None where x is no array.
        columns: of "rows", the names of the D columns, if the source has them.
        conditions: names of columns that can be conditions. names: of columns that name a row, such as "file".
        extra: what else the source knows, such as {"rate": 16000} for audio.
        vaekit: the version that wrote it. format: of the folder.
    """

    kind: str
    name: str
    rows: int
    shape: list[int] | None
    dtype: str | None
    columns: list[str] | None
    conditions: list[str]
    names: list[str]
    extra: dict[str, Any]
    shards: list[Shard]
    vaekit: str
    format: int = FORMAT

    @property
    def row_bytes(self) -> int | None:
        """Bytes of an x that is an array."""
        return None if self.shape is None else math.prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def digest(self) -> str:
        """The SHA-256 of all that it says: shards with the same digest hold the same rows."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def text(self) -> str:
        return json.dumps({**asdict(self), "digest": self.digest}, indent=1) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a folder. UserError if there is none, or if it is damaged or of a newer format."""
        path = folder / MANIFEST
        try:
            return cls.parse(plain_file(path).read_text(encoding="utf-8"), str(path))
        except FileNotFoundError:
            raise UserError(f"{path} does not exist: give the folder that `vaekit pack` wrote") from None
        except OSError as e:
            raise UserError(f"cannot read {path}: {e.strerror or e}") from e
        except UnicodeDecodeError as e:
            raise UserError(f"{path} is damaged ({e}): {AGAIN}") from e

    @classmethod
    def parse(cls, text: str, path: str) -> Manifest:
        """Read a manifest's text, which comes from `path`. UserError if it is damaged or of a newer format."""
        try:
            said = json.loads(text)
        except (ValueError, RecursionError) as e:
            raise UserError(f"{path} is damaged ({e}): {AGAIN}") from e
        written = said.get("format") if isinstance(said, dict) else None
        if not isinstance(written, int):
            raise UserError(f"{path} is not of shards that `vaekit pack` wrote: give the folder that it wrote")
        if written > FORMAT:
            raise UserError(f"{path} has format {written}, and this vaekit reads up to {FORMAT}: upgrade vaekit")
        digest = said.pop("digest", None)
        if not well_formed(said, TYPES) or not all(well_formed(shard, TYPES_OF_A_SHARD) for shard in said["shards"]):
            raise UserError(f"{path} is damaged, or was changed: {AGAIN}")
        found = cls(**{**said, "shards": [Shard(**shard) for shard in said["shards"]]})
        names = [PART.format(i) for i in range(len(found.shards))]
        rows = sum(shard.rows for shard in found.shards)
        if found.digest != digest or rows != found.rows or [shard.file for shard in found.shards] != names:
            raise UserError(f"{path} is damaged, or was changed: {AGAIN}")
        return found


def well_formed(said: Any, types: Mapping[str, Any]) -> bool:
    """Whether this is a dict of exactly these keys, with values of these types."""
    return (
        isinstance(said, dict)
        and said.keys() == types.keys()
        and all(isinstance(said[name], kind) for name, kind in types.items())
    )


def hash_of(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
