"""What each generation of a search gave, a line of JSON each. A search that was cut short runs again from its seed, with these in place of
evaluations: so it goes on with the bits that it would have had."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.evolution.functions import Batch

JOURNAL = "journal.jsonl"


class Journal:
    """The journal of a search in a folder; None: nothing is kept.

    Args:
        about: what the search depends on. budget: how many rows are evaluated. resume: whether to go on with the one that is there.

    Raises:
        UserError: there is one already, and it is not to go on; or it is of another search.
    """

    def __init__(self, folder: Path | None, about: Mapping[str, Any], budget: int, *, resume: bool):
        self.path = folder and folder / JOURNAL
        self.known: list[dict[str, Any]] = []
        self.next = 0
        if self.path is None:
            return
        about = json.loads(json.dumps(about))
        whole = 0
        if self.path.exists():
            content = self.path.read_bytes()
            lines = content.splitlines(keepends=True)
            if lines and not lines[-1].endswith(b"\n"):
                lines.pop()  # a line that was cut short is not there
            if len(lines) > 1:  # of fewer, not even one generation is known
                if not resume:
                    raise UserError(f"{folder} holds a search: give --resume to go on with it, or another folder (-o)")
                try:
                    before, *self.known = map(json.loads, lines)
                except ValueError as error:
                    raise UserError(f"{self.path} is damaged: start a new search in another folder (-o)") from error
                check_same(folder, before, about)
                done = sum(len(each["objective"]) for each in self.known)
                if done > budget:
                    raise UserError(f"{folder} holds a search of {done:,} rows already: give a larger --budget")
                if done < budget and self.known[-1]["cut"]:  # by a smaller budget: it is made anew, and whole
                    self.known.pop(), lines.pop()
                whole = sum(map(len, lines))
        elif resume:
            raise UserError(f"{folder} holds no search to go on with: leave --resume out")
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = self.path.open("ab")
        self.file.truncate(whole)
        if not whole:
            self._write(about)

    @property
    def replaying(self) -> bool:
        """Whether the next generation has been evaluated before."""
        return self.next < len(self.known)

    def recall(self, batch: Batch) -> dict[str, Any]:
        """The recorded results of the candidates. UserError if these are not the same."""
        found = self.known[self.next]
        if found["rows"] != checksum(batch):
            raise UserError(
                f"the candidates of generation {self.next} in {self.path} come out different now, as they do with another start or "
                "condition, another version of a library or another processor: start a new search"
            )
        self.next += 1
        arrays = {name: np.array(found[name], dtype=np.float64) for name in ("objective", "measures", "p_value")}
        return {**found, **arrays}

    def keep(
        self, batch: Batch, objective: np.ndarray, measures: np.ndarray, p: np.ndarray, failed: Mapping[str, int], cut: bool
    ) -> None:  # fmt: skip
        """Write down what was found of the candidates. cut: whether the budget left some of the generation out."""
        if self.path is not None:
            values = {"objective": objective.tolist(), "measures": measures.tolist(), "p_value": p.tolist()}
            self._write({"rows": checksum(batch), **values, "failed": dict(failed), "cut": cut})

    def close(self) -> None:
        if self.path is not None:
            self.file.close()

    def _write(self, values: Mapping[str, Any]) -> None:
        self.file.write(json.dumps(values).encode() + b"\n")
        self.file.flush()


def checksum(batch: Batch) -> int:
    return zlib.crc32(np.ascontiguousarray(batch.z).data, zlib.crc32(np.ascontiguousarray(batch.x).data))


def check_same(folder: Any, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    for name, value in now.items():
        if before.get(name) != value:
            raise UserError(
                f"{folder} holds a search with {name}={before.get(name)!r}, not {value!r}: give the same, or another folder (-o)"
            )


def checksum_of(file: str) -> str:
    return f"{zlib.crc32(Path(file).read_bytes()):08x}"
