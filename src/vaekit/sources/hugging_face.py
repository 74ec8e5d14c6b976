"""Hugging Face datasets as sources: tables, or pictures with a table beside them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaekit.errors import UserError, extra_needed
from vaekit.frame import Frame
from vaekit.sources.base import Ask, Dataset
from vaekit.sources.pictures import from_pictures
from vaekit.sources.tables import column_offers, from_table


def read_hugging_face(ask: Ask) -> Dataset:
    with loading(ask):
        data, image = load(ask)
        table = with_labels(data.with_format("arrow")[:], data.features)
    name = Path(name_and_split(ask)[0]).name
    if not image:
        return from_table(table, ask, name, [])
    offers = column_offers(Frame.of(table.drop_columns(image)), ask)
    return from_pictures(files_of(table[image]), ask, name, offers)


def name_and_split(ask: Ask) -> tuple[str, str]:
    name = ask.text.removeprefix("hf://")
    if ":" in name and not Path(name).exists():
        name, split = name.rsplit(":", 1)
        return name, split
    return name, "train"


@contextmanager
def loading(ask: Ask) -> Iterator[None]:
    """Turn whatever the libraries raise into a UserError: each kind of source is read by another one."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = str(error.__cause__ or error)[:300]
        raise UserError(f"{ask.text} could not be loaded ({reason}): check its name and split") from error


def load(ask: Ask, **options: Any) -> tuple[Any, str | None]:
    """Load a dataset, its pictures as files. Also returns the name of the column of pictures, if it has one."""
    try:
        import datasets
    except ImportError as error:
        raise extra_needed("hf", "datasets") from error

    name, split = name_and_split(ask)
    data = datasets.load_dataset(name, split=split, **options)
    images = [key for key, feature in (data.features or {}).items() if isinstance(feature, datasets.Image)]
    if len(images) > 1:
        raise UserError(f"{ask.text} has several columns of pictures ({', '.join(images)}): give a source with one")
    for key in images:
        data = data.cast_column(key, datasets.Image(decode=False))
    return data, next(iter(images), None)


def with_labels(table: Any, features: Any) -> Any:
    """Write the names of classes in place of their numbers."""
    import pyarrow as pa

    for key, feature in (features or {}).items():
        if hasattr(feature, "int2str"):  # a ClassLabel
            labels = [None if k is None or k < 0 else feature.names[k] for k in table[key].to_pylist()]
            table = table.set_column(table.column_names.index(key), key, pa.array(labels, pa.string()))
    return table


def files_of(column: Any, first: int = 0) -> Sequence[tuple[str, Path | bytes]]:
    """Pictures by name, and their files, from a column of them. first: the number of its first row."""
    cells = enumerate(column.to_pylist(), first)
    return [(f"row {i}", cell["bytes"] or Path(cell["path"]) if cell else b"") for i, cell in cells]
