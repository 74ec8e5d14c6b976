"""JSON lines as a source: a file with an object on each line. The keys are the columns of a table."""

from __future__ import annotations

import re
from typing import Any

from vaekit.errors import UserError
from vaekit.sources.base import Ask, Dataset, content_of, decoded, decoding
from vaekit.sources.tables import from_table


def read_json_lines(ask: Ask) -> Dataset:
    """Read a table. A key that a line lacks is a missing cell; columns of lists and objects are left out, with a note."""
    import pyarrow as pa
    from pyarrow import json

    content = decoded(content_of(ask.path), ask).encode()
    if not content.strip():
        raise UserError(f"{ask.text} is empty: give a file with an object on each line")
    with decoding(ask.text, "JSON lines, an object such as {'text': 'a b c'} on each line"):
        table: Any = json.read_json(pa.BufferReader(content), json.ReadOptions(block_size=len(content) + 1))
    nested = [field.name for field in table.schema if pa.types.is_nested(field.type) or pa.types.is_null(field.type)]
    if len(nested) == table.num_columns:
        raise UserError(
            f"{ask.text} has no column of text or numbers, only lists, objects or empty ones ({', '.join(nested)}): give some"
        )
    notes = [
        f"{ask.text}: columns that were left out, because they hold lists, objects or nothing: {', '.join(nested)}"
    ]
    name = re.sub(r"\.(jsonl|ndjson)(\.gz)?$", "", ask.path.name, flags=re.IGNORECASE)
    return from_table(table.drop_columns(nested), ask, name, notes if nested else [])
