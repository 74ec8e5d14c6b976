"""Files that are whole or not there: atomic writes, and reading back without trust."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from vaekit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in path's place in one step.

    Whatever happens on the way (a kill, a full disk), `path` holds its old content or its new, whole.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")  # always the same, so that kills leave no heap of them
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as e:
        raise UserError(
            f"cannot write {path}: {e.strerror or e}; what was there before is kept. Free space or choose another place"
        ) from e
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


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
