"""Files that are whole or absent: atomic writes, and reading back without trust."""

from __future__ import annotations

import errno
import hashlib
import json
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
LARGEST_YAML = 16 << 20  # bytes
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in path's place in one step.

    Whatever happens on the way (a kill, a full disk), `path` holds its old content or its new, whole. The temporary file has a
    name that nobody can guess, and nothing that waits under it is followed: the folder may be a stranger's.
    """
    write_together({Path(path): write})


def write_together(files: Mapping[Path, Callable[[Path], object]]) -> None:
    """Like `write_atomically`, for files that belong together: none takes its place before all of them are written."""
    written: dict[Path, Path] = {}
    path = Path()
    try:
        for path, write in files.items():
            if path.exists() and not path.is_file():
                raise UserError(f"cannot write {path}: it is not a plain file. Choose another name")
            remove_leftovers(path.parent, HOUR)
            temporary = path.with_name(TEMPORARY.format(secrets.token_hex(8)))
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            written[path] = temporary
            write(temporary)
            flush(temporary)
        for path, temporary in written.items():
            os.replace(temporary, path)
    except OSError as e:
        remedy = "Free space or choose another place" if e.errno in FULL else "Choose another place"
        raise UserError(f"cannot write {path}: {e.strerror or e}; its earlier content is kept. {remedy}") from e
    finally:
        for temporary in written.values():
            with suppress(OSError):
                temporary.unlink()
    for folder in {path.parent for path in files}:
        with suppress(OSError):  # some systems cannot flush a folder
            flush(folder)


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
    """Keep other processes and threads from writing to the run in `folder`. UserError after waiting `patience` seconds for another.

    The system takes the lock back when a process ends, however it ends. On a file system without locks, nothing is locked.
    """
    if fcntl is None:
        yield
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as e:
        raise UserError(f"cannot open the folder {folder}: {e.strerror}") from e
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
    """Try to take the lock of an open folder; return whether we have it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def write_text(path: Path, text: str) -> None:
    write_atomically(path, text_writer(text))


def read_text(path: Path) -> str:
    return plain_file(path).read_text(encoding="utf-8")


def plain_file(path: Path) -> Path:
    """Return the path. OSError if it is not a plain file: a pipe would keep its reader waiting forever."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not a plain file", str(path))
    return path


def text_writer(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text, encoding="utf-8")


# -- tensors -----------------------------------------------------------------------------------------------------------


def write_tensors(path: Path, tensors: Mapping[str, Tensor], kind: str, about: Mapping[str, Any] | None = None) -> None:
    """Save tensors as a safetensors file (no pickle). kind: what the file is, such as "model". about: plain values to keep with them."""
    write_atomically(path, tensor_writer(tensors, kind, about))


def tensor_writer(
    tensors: Mapping[str, Tensor], kind: str, about: Mapping[str, Any] | None = None
) -> Callable[[Path], object]:
    from safetensors.torch import save

    # One entry of metadata, because safetensors writes several in an order that changes from write to write.
    kept = {**(about or {}), "kind": kind, "hash": digest(tensors)}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    content = save(plain, {"vaekit": json.dumps(kept)})
    return lambda path: path.write_bytes(content)


def read_tensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote, and the values kept with it. UserError if the file is missing, damaged, changed or foreign."""
    tensors, metadata = read_safetensors(path)
    try:
        about = json.loads(metadata["vaekit"])
        if about["kind"] != kind:
            raise UserError(f"{path} is a {about['kind']}, not a {kind}: put the right file in its place")
        same = about["hash"] == digest(tensors)
    except (KeyError, TypeError, ValueError, RecursionError) as e:
        raise UserError(f"{path} is not a {kind} that this version of vaekit wrote: restore it, or train again") from e
    if not same:
        raise UserError(
            f"{path} is damaged, or was changed after it was written: restore it from a copy, or train again"
        )
    return tensors, about


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and metadata of any safetensors file. UserError if it is missing, cut short or foreign."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UserError(f"{path} does not exist: the run is not complete, or this is not a vaekit run")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except PermissionError as e:
        raise UserError(f"no permission to read {path}: change its permissions") from e
    except (SafetensorError, OSError, ValueError, RuntimeError) as e:
        raise UserError(
            f"{path} is damaged or not a safetensors file ({e}): restore it from a copy, or train again"
        ) from e


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Hash tensors by name (BLAKE2b, 16 hex digits): the same hash means the same numbers."""
    import torch

    found = hashlib.blake2b(digest_size=8)
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        if tensor.numel():
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def text_digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


# -- YAML --------------------------------------------------------------------------------------------------------------


class Loader(yaml.SafeLoader):
    """Read plain values. It rejects aliases: with them, a file of a few lines can stand for more than any memory holds."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias (*name), and aliases are not read: write out what it stands for")
        return super().compose_node(parent, index)


class Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


for form in (Loader, Dumper):  # in which 1e-3 is a number; PyYAML takes it for a word
    form.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
    )


def parse_yaml(text: str) -> Any:
    """Parse YAML that a person wrote. Raises yaml.YAMLError."""
    try:
        return yaml.load(text, Loader)
    except RecursionError as e:
        raise yaml.YAMLError("it is nested too deeply") from e
    except (ValueError, OverflowError) as e:  # numbers and dates that there are not
        raise yaml.YAMLError(str(e)) from e


def read_yaml(path: Path) -> Any:
    """Read the values of a YAML file. UserError if it cannot be read, is too large or is not plain YAML."""
    try:
        with plain_file(Path(path)).open("rb") as file:
            content = file.read(LARGEST_YAML + 1)
    except OSError as e:
        raise UserError(f"cannot read {path}: {e.strerror}") from e
    if len(content) > LARGEST_YAML:
        raise UserError(f"{path} is larger than {LARGEST_YAML >> 20} MiB: it is not a file of settings")
    try:
        return parse_yaml(content.decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise UserError(f"{path} cannot be read as YAML: {e}") from e


def to_yaml(values: Any, **options: Any) -> str:
    return yaml.dump(values, Dumper=Dumper, sort_keys=False, allow_unicode=True, **options)
