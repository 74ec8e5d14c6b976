"""Domains: the one place that knows what a row of data looks like.

A domain turns rows in the user's own form into tensors and back, and says which likelihood and which networks suit
them. It is a dataclass of plain values, so that it is written to a run's config and read back. A new kind of data is a
new file here, named in `DOMAINS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from vaekit.domains.actions import Actions
from vaekit.domains.images import Images
from vaekit.domains.rows import Rows
from vaekit.domains.series import Series
from vaekit.domains.table import Table
from vaekit.domains.text import Text
from vaekit.errors import UserError
from vaekit.frame import Frame


class Domain(Protocol):
    kind: ClassVar[str]

    @classmethod
    def infer(cls, rows: Any, *, standardize: bool = True, columns: list[str] | None = None, **options: Any) -> Domain:
        """Learn the schema from rows (N, ...).

        `standardize`: the likelihood lets the domain choose scale and origin. `columns`: their names. `options`: what the
        user says of data of this kind, such as `binarize` of pictures.
        """

    @staticmethod
    def default_likelihood(rows: np.ndarray, binarize: str | None) -> str:
        """The name of the likelihood that suits these rows."""

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one x as the model sees it."""

    @property
    def unit(self) -> Tensor:
        """How many of the data's own units one model unit is, for each column or channel: (event_shape[0],)."""

    def conform(self, rows: Any) -> Any:
        """Rows in the form the model was trained on (such as grey pictures for a model of colour); UserError where they
        do not fit the schema."""

    def pack(
        self, rows: Any, dtype: torch.dtype = torch.float32, jitter: np.random.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Rows -> compact tensors to keep in memory: x (N, *event) and a mask, True where observed (None: all is).

        `jitter`: for training, where values that are rounded are better spread.
        """

    def batch(self, x: Tensor, uniform: Any = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """Packed rows (B, *event) -> what the model sees. `uniform(*shape)` gives random numbers in 0..1."""

    def unpack(self, x: Tensor) -> Any:
        """What the model gives, (N, *event) -> rows in the user's own form, range and type."""

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        """(encoder, decoder) classes with their options bound: call as net(in_shape, out_shape, condition_features)."""

    mean_samples: ClassVar[bool]
    """Whether a generated row is shown as the decoder's mean (pictures) or drawn from its likelihood (numbers)."""


DOMAINS: dict[str, type[Any]] = {
    "images": Images, "rows": Rows, "table": Table, "text": Text, "actions": Actions, "series": Series,
}  # fmt: skip
OPTIONS = {
    "binarize": ("images", "pictures"),
    "schema": ("table", "tables of named columns"),
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
