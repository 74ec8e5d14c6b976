"""Files that are whole or not there: atomic writes, and reading back without trust."""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from vaekit.errors import UserError

try:
    import fcntl
except ImportError:  # on Windows, where nothing is locked
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from torch import Tensor

TEMPORARY = ".vaekit-{}.tmp"
HOUR = 3600.0
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number; PyYAML takes it for a word."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_yaml(text: str) -> Any:
    """What YAML that a person wrote says. Raises yaml.YAMLError."""
    return yaml.load(text, Loader)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in path's place in one step.

    Whatever happens on the way (a kill, a full disk), `path` holds its old content or its new, whole. The temporary file has a
    name that nobody can guess, and nothing that waits under it is followed: the folder may be a stranger's.
    """
    path = Path(path)
    temporary = path.with_name(TEMPORARY.format(secrets.token_hex(8)))
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"cannot write {path}: it is not a plain file. Choose another name")
        remove_leftovers(path.parent, HOUR)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        write(temporary)
        flush(temporary)
        os.replace(temporary, path)
    except OSError as e:
        remedy = "Free space or choose another place" if e.errno in FULL else "Choose another place"
        raise UserError(f"cannot write {path}: {e.strerror or e}; what was there before is kept. {remedy}") from e
    finally:
        with suppress(OSError):
            temporary.unlink()
    with suppress(OSError):  # some systems cannot flush a folder
        flush(path.parent)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, age: float) -> None:
    """Remove temporary files in `folder` of processes that were killed: those older than `age` seconds."""
    for path in folder.glob(TEMPORARY.format("*")):
        with suppress(OSError):
            if time.time() - path.lstat().st_mtime >= age:
                path.unlink()


@contextmanager
def locked(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Within it no other process or thread may write the run in `folder`; UserError if one does so for more than `patience` seconds.

    The system takes the lock back when a process ends, however it ends. A file system without locks gives none.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + patience
        while not claim(handle):
            if time.monotonic() >= until:
                raise UserError(f"another process is writing to {folder}: wait until it ends, or choose another place")
            time.sleep(0.05)
        remove_leftovers(folder, 0.0)
        yield
    finally:
        os.close(handle)


def claim(handle: int) -> bool:
    """Whether the lock of an open folder is ours now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda p: p.write_text(text, encoding="utf-8"))


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Save tensors as a safetensors file (no pickle)."""
    from safetensors.torch import save

    blob = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, dict(metadata or {}))
    write_atomically(path, lambda p: p.write_bytes(blob))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file. UserError where it is missing, cut short or foreign."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UserError(f"{path} is not there: the run is not complete, or this is no run of vaekit")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as e:
        raise UserError(
            f"{path} is damaged or no safetensors file ({e}): restore it from a copy, or train again"
        ) from e
