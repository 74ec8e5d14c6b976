"""A process that makes parts. It reads what it is about, and then numbers of parts, from its standard input, a line each, and says what it
has done on its standard output. It ends when its parent does, however that ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pyarrow as pa

from vaekit.distributed.parts import Parts
from vaekit.distributed.rows import Rows
from vaekit.distributed.work import Work
from vaekit.errors import UserError, kept_notes
from vaekit.show.write import write_pieces

GATHERED = 16  # slices that are written together


def tell(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def main() -> None:
    warnings.simplefilter("ignore")  # the parent shows the notes
    pa.set_cpu_count(1)
    about = json.loads(sys.stdin.readline())
    parts = Parts(Path(about["parts"].pop("folder")), **about["parts"])
    asked: SimpleQueue[int] = SimpleQueue()
    threading.Thread(target=listen, args=(asked,), daemon=True).start()
    try:
        work = Work(about["model"], parts.verb, **about["work"])
        rows = None if parts.source is None else Rows(about["place"])
        if rows is not None and rows.fingerprint != parts.source:
            raise UserError(f"{about['place']} has changed since its first part was made: choose a new folder")
        while True:
            tell(ready=True)
            part = asked.get()
            with kept_notes() as notes:
                write_pieces(parts.path(part), gathered(made(parts, part, work, rows, about["names"])))
            tell(done=part, notes=list(dict.fromkeys(notes)))
    except UserError as e:
        tell(error=str(e))


def listen(asked: SimpleQueue[int]) -> None:
    for line in sys.stdin:
        asked.put(int(line))
    os.kill(os.getpid(), signal.SIGKILL)  # the parent has gone


def made(parts: Parts, part: int, work: Work, rows: Rows | None, names: list[str]) -> Iterator[Any]:
    """The rows of a part, as they are written, slice by slice."""
    start, stop = parts.span(part)
    if rows is None:
        for found in work.sample(start, stop):
            yield found
            tell(rows=len(found))
        return
    for table in rows.read(start, stop, work.needs(rows.schema, names)):
        try:
            yield work.written(table, names, start)
        except UserError as e:
            raise UserError(f"rows {start} to {start + len(table) - 1}: {e}") from e
        start += len(table)
        tell(rows=len(table))


def gathered(tables: Iterator[Any]) -> Iterator[Any]:
    """Fewer and longer tables."""
    held: list[Any] = []
    for table in tables:
        held.append(table)
        if len(held) == GATHERED:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)


if __name__ == "__main__":
    main()
