"""Where files lie: on this machine, or on another one, such as s3://bucket/folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vaekit.errors import UserError, extra_needed

KEYS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`",
    "az": "AZURE_STORAGE_CONNECTION_STRING",
}


def is_remote(text: str) -> bool:
    """Whether a source lies on another machine."""
    return re.match(r"[a-z][a-z0-9+]+://", text) is not None


def place_of(text: str) -> tuple[Any, str]:
    """The file system (of pyarrow) that a file or a folder lies on, and its path there.

    Raises:
        UserError: it cannot be reached, or what reads such an address is not installed.
    """
    from pyarrow import fs

    if not is_remote(text):
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(text))
    with reached(text):
        if text.startswith("s3://"):
            return fs.FileSystem.from_uri(text)
        import fsspec

        try:
            other, path = fsspec.core.url_to_fs(text)
        except ImportError as error:
            raise extra_needed("cloud", f"that fsspec needs for {text.partition(':')[0]}://") from error
        except ValueError as error:
            raise UserError(
                f"{text} cannot be read ({error}): give a folder, a file, or an address such as s3://"
            ) from error
        return fs.PyFileSystem(fs.FSSpecHandler(other)), path.rstrip("/")


def files_in(filesystem: Any, root: str) -> Sequence[str] | None:
    """The names of the files in a folder, in order; None of a file."""
    from pyarrow import fs

    if filesystem.get_file_info(root).type == fs.FileType.File:
        return None
    found = filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True))
    return sorted(each.base_name for each in found if each.type != fs.FileType.Directory)


def is_part(name: str) -> bool:
    """Whether a file in a folder holds rows of its table. Others begin with . or _."""
    return name.endswith(".parquet") and name[0] not in "._"


def parts_in(filesystem: Any, root: str, names: Sequence[str] | None, text: str) -> list[str]:
    """The Parquet files of a table. names: of the files in the folder; None where it is one file. UserError if there are none."""
    parts = [root] if names is None else [f"{root}/{name}" for name in names if is_part(name)]
    if not parts:
        raise UserError(
            f"{text} holds no Parquet files: check its name, or write shards with `vaekit pack SOURCE -o SHARDS`"
        )
    return parts


@contextmanager
def reached(text: str) -> Iterator[None]:
    """UserError if another machine does not let us in. What it answers is not shown: it may name keys."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # libraries of clouds share no base
        if not is_remote(text):
            raise UserError(f"{text} cannot be read ({error}): check its name, or get it again") from error
        keys = KEYS.get(text.partition("://")[0], "its credentials")
        raise UserError(
            f"{text} cannot be read ({type(error).__name__}): check its name and the connection, and set {keys}"
        ) from None
