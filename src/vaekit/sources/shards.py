"""Shards as sources, and Parquet files in folders and on other machines: rows of any number, which stay where they are until they are needed."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import Any

from vaekit.errors import UserError
from vaekit.frame import Frame
from vaekit.frame.groups import RowGroups, open_parquet
from vaekit.frame.packed import from_cells
from vaekit.frame.places import files_in, is_part, is_remote, parts_in, place_of, reached
from vaekit.sources.base import Ask, Dataset, decoding, take
from vaekit.sources.manifest import MANIFEST, Manifest, X
from vaekit.sources.stored import StoredColumn, as_texts, as_values
from vaekit.sources.tables import column_offers, dataset_of, from_table


def is_parquet_folder(ask: Ask) -> bool:
    return ask.path.is_dir() and any(is_part(path.name) for path in ask.path.iterdir())


def read_parquets(ask: Ask) -> Dataset:
    """Read a folder of shards that `vaekit pack` wrote, a folder of Parquet files, or what `is_remote`."""
    filesystem, root = place_of(ask.text if is_remote(ask.text) else str(ask.path))
    with reached(ask.text):
        names = files_in(filesystem, root)
        manifest = None
        if MANIFEST in (names or ()):
            with filesystem.open_input_file(f"{root}/{MANIFEST}") as file:
                manifest = Manifest.parse(file.read().decode(errors="replace"), f"{ask.text}/{MANIFEST}")
    if manifest is None:
        parts = parts_in(filesystem, root, names, ask.text)
        with decoding(ask.text, "a table of Parquet files"):
            return from_table(open_parquet(parts, filesystem), ask, PurePosixPath(root).stem, [])
    check_sizes(manifest, filesystem, root, ask.text)
    with decoding(ask.text, "shards"):
        parts = open_parquet([f"{root}/{shard.file}" for shard in manifest.shards], filesystem)
        return (
            dataset_of(parts, ask, manifest.name, []) if manifest.kind == "table" else column_of(manifest, parts, ask)
        )


def column_of(manifest: Manifest, parts: Any, ask: Ask) -> Dataset:
    """The rows in the column `X` of shards, with the conditions and names beside them."""
    files = RowGroups(parts)
    if manifest.shape is None or manifest.dtype is None:
        x = StoredColumn(files, X, as_texts, (), object)
    else:
        decode = partial(from_cells, shape=manifest.shape, dtype=manifest.dtype)
        x = StoredColumn(files, X, decode, manifest.shape, manifest.dtype)
    x.fingerprint, x.extra = manifest.digest, manifest.extra
    offers = column_offers(Frame(parts, columns=manifest.conditions), ask)
    names = {name: StoredColumn(files, name, as_values, (), object) for name in manifest.names}
    return Dataset(x, manifest.kind, manifest.name, manifest.columns, take(offers, ask), [], names)  # type: ignore[arg-type]


def check_sizes(manifest: Manifest, filesystem: Any, root: str, text: str) -> None:
    """UserError if a shard is missing or cut."""
    with reached(text):
        infos = filesystem.get_file_info([f"{root}/{shard.file}" for shard in manifest.shards])
    for shard, info in zip(manifest.shards, infos, strict=True):
        if info.size != shard.bytes:
            held = "does not exist" if info.size is None else f"has {info.size:,} bytes, not {shard.bytes:,}"
            raise UserError(f"{text}/{shard.file} {held}: restore it from a copy, or pack the source again")
