"""Shards as sources, and Parquet files in folders and on other machines: rows of any number, which stay where they are until they are needed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from vaekit.errors import UserError, extra_needed
from vaekit.frame import Frame
from vaekit.frame.groups import RowGroups, open_parquet
from vaekit.sources.base import Ask, Dataset, decoding, take
from vaekit.sources.manifest import MANIFEST, Manifest, X
from vaekit.sources.stored import StoredColumn, as_rows, as_texts, as_values
from vaekit.sources.tables import column_offers, dataset_of, from_table

KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "az": "AZURE_STORAGE_CONNECTION_STRING",
}


def is_remote(text: str) -> bool:
    """Whether a source lies on another machine, such as s3://bucket/folder."""
    return re.match(r"[a-z][a-z0-9+]+://", text) is not None


def is_parquet_folder(ask: Ask) -> bool:
    return ask.path.is_dir() and any(is_part(path.name) for path in ask.path.iterdir())


def is_part(name: str) -> bool:
    """Whether a file in a folder holds rows of its table. Others begin with . or _."""
    return name.endswith(".parquet") and name[0] not in "._"


def read_parquets(ask: Ask) -> Dataset:
    """Read a folder of shards that `vaekit pack` wrote, a folder of Parquet files, or what `is_remote`."""
    filesystem, root = place_of(ask)
    with reached(ask.text):
        names = files_in(filesystem, root)
        manifest = None
        if MANIFEST in names:
            with filesystem.open_input_file(f"{root}/{MANIFEST}") as file:
                manifest = Manifest.parse(file.read().decode(errors="replace"), f"{ask.text}/{MANIFEST}")
    if manifest is None:
        parts = [f"{root}/{name}" for name in names if is_part(name)] if names else [root]
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
        x = StoredColumn(files, X, as_rows(manifest.shape, manifest.dtype), manifest.shape, manifest.dtype)
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


def place_of(ask: Ask) -> tuple[Any, str]:
    """The file system (of pyarrow) that a source lies on, and its path there."""
    from pyarrow import fs

    if not is_remote(ask.text):
        return fs.LocalFileSystem(), str(ask.path)
    import fsspec

    try:
        other, path = fsspec.core.url_to_fs(ask.text)
    except ImportError as error:
        raise extra_needed("cloud", "s3fs or gcsfs") from error
    except ValueError as error:
        raise UserError(
            f"{ask.text} cannot be read ({error}): give a folder, a file, or an address such as s3://"
        ) from error
    return fs.PyFileSystem(fs.FSSpecHandler(other)), path.rstrip("/")


def files_in(filesystem: Any, root: str) -> Sequence[str]:
    """The names of the files in a folder, in order; none of a file. UserError if there is nothing."""
    from pyarrow import fs

    info = filesystem.get_file_info(root)
    if info.type == fs.FileType.File:
        return ()
    found = filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True))
    names = sorted(each.base_name for each in found if each.type != fs.FileType.Directory)
    if not any(map(is_part, names)):
        raise UserError(
            f"{root} holds no Parquet files: check its name, or write shards with `vaekit pack SOURCE -o SHARDS`"
        )
    return names


@contextmanager
def reached(text: str) -> Iterator[None]:
    """UserError if another machine does not let us in. What it answers is not shown: it may name keys."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # libraries of clouds share no base
        scheme = text.partition("://")[0] if is_remote(text) else ""
        keys = KEYS.get(scheme.removesuffix("a") if scheme == "s3a" else scheme, "its credentials")
        if not scheme:
            raise UserError(f"{text} cannot be read ({error})") from error
        raise UserError(
            f"{text} cannot be read ({type(error).__name__}): check its name and the connection, and set {keys}"
        ) from None
