"""Tab-separated files, rewritten as .csv: in a .tsv a quote is mostly just a character, and a header is often missing."""

from __future__ import annotations

import csv
import io
import re

from vaekit.errors import note

QUOTED = re.compile(r'(?:^|\t)"(?:[^"]|"")*"(?=\t|$)', re.MULTILINE)
QUOTE_FIRST = re.compile(r'(?:^|\t)"', re.MULTILINE)


def as_csv(text: str, name: str) -> str:
    """Rewrite the text of a .tsv as that of a .csv.

    A quote is a character like others unless each cell that begins with one also ends with one. The first line is a header unless
    one of its cells occurs again below it; a note says so.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n")
    quoted = QUOTE_FIRST.search(QUOTED.sub("\t", lines)) is None
    csv.field_size_limit(max(csv.field_size_limit(), len(lines)))  # of the whole process, as the module has it
    rows = (
        list(csv.reader(io.StringIO(lines), delimiter="\t"))
        if quoted
        else [line.split("\t") for line in lines.split("\n")]
    )
    if rows and any(cell.strip() and cell in column for cell, *column in zip(*rows, strict=False)):
        rows.insert(0, [f"column_{i}" for i in range(len(rows[0]))])
        note(f"{name} has no header; its columns were named column_0, column_1, ...")
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return out.getvalue()
