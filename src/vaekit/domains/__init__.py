"""Domains, each of which knows what a row of one kind of data looks like. A new kind of data is a new file here, with a `Domain`
that is named in `DOMAINS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vaekit.domains.actions import Actions
from vaekit.domains.base import Domain
from vaekit.domains.images import Images
from vaekit.domains.rows import Rows
from vaekit.domains.series import Series
from vaekit.domains.table import Table
from vaekit.domains.text import Text
from vaekit.errors import UserError
from vaekit.frame import Frame

DOMAINS: dict[str, type[Any]] = {
    "images": Images, "rows": Rows, "table": Table, "text": Text, "actions": Actions, "series": Series,
}  # fmt: skip
OPTIONS = {
    "binarize": ("images", "pictures"),
    "schema": ("table", "tables of named columns"),
    "constraints": ("table", "tables of named columns"),
    "tokenizer": ("text", "texts"),
}
"""What a user may say of data of one kind: the kind of the domain, and its name for people."""


def domain_for(rows: np.ndarray | Frame) -> type[Any]:
    """The domain of an array, or of a table."""
    if isinstance(rows, Frame):
        return Table
    if rows.ndim == 1:
        return Text
    return Images if rows.ndim > 2 else Rows


def infer(rows: np.ndarray | Frame, *, standardize: bool, columns: list[str] | None, options: Mapping[str, Any]) -> Any:
    """The domain of these rows, learned from them. options: those of `OPTIONS` that were said."""
    domain = domain_for(rows)
    for name in options:
        kind, what = OPTIONS[name]
        if domain.kind != kind:
            raise UserError(f"{name} is for {what}: leave it out")
    return domain.infer(rows, standardize=standardize, columns=columns, **options)


__all__ = ["DOMAINS", "Actions", "Domain", "Images", "Rows", "Series", "Table", "Text", "domain_for", "infer"]
