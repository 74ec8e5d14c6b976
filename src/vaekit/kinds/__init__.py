"""Domains, each of which knows what a row of one kind of data looks like. A new kind of data is a new file here, with a `Kind`
that is named in `KINDS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.frame import Frame
from vaekit.kinds.actions import Actions
from vaekit.kinds.base import Kind
from vaekit.kinds.pictures import Images
from vaekit.kinds.rows import Rows
from vaekit.kinds.series import Series
from vaekit.kinds.table import Table
from vaekit.kinds.text import Text

KINDS: dict[str, type[Any]] = {
    "images": Images, "rows": Rows, "table": Table, "text": Text, "actions": Actions, "series": Series,
}  # fmt: skip
OPTIONS = {
    "binarize": ("images", "pictures"),
    "schema": ("table", "tables of named columns"),
    "constraints": ("table", "tables of named columns"),
    "tokenizer": ("text", "texts"),
}
"""What a user may say of data of one kind: the kind of the kind, and its name for people."""


def kind_for(rows: np.ndarray | Frame) -> type[Any]:
    """The kind of an array, or of a table."""
    if isinstance(rows, Frame):
        return Table
    if rows.ndim == 1:
        return Text
    return Images if rows.ndim > 2 else Rows


def infer(rows: np.ndarray | Frame, *, standardize: bool, columns: list[str] | None, options: Mapping[str, Any]) -> Any:
    """The kind of these rows, learned from them. options: those of `OPTIONS` that were said."""
    kind = kind_for(rows)
    for name in options:
        needed, what = OPTIONS[name]
        if kind.name != needed:
            raise UserError(f"{name} is for {what}: leave it out")
    return kind.infer(rows, standardize=standardize, columns=columns, **options)


__all__ = ["KINDS", "Actions", "Images", "Kind", "Rows", "Series", "Table", "Text", "infer", "kind_for"]
