"""What a user types for a setting -> its value."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from vaekit.errors import UserError
from vaekit.files import parse_yaml, read_yaml


def parse_size(text: str) -> tuple[int, int]:
    """ "64x48" or "64" -> (width, height)."""
    size = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text.lower())
    if not size:
        raise UserError(f"--resize takes WIDTHxHEIGHT, such as 64x64, not {text!r}")
    return int(size[1]), int(size[2] or size[1])


def parse_map(texts: list[str]) -> dict[str, str]:
    """ "state=observation.joints,action=actions" -> a dict."""
    pairs = [pair.partition("=") for text in texts for pair in text.split(",")]
    for name, _, key in pairs:
        if not name or not key:
            raise UserError(f"--map takes NAME=KEY, such as state=observation.joints, not {name!r}")
    return {name: key for name, _, key in pairs}


def parse_value(where: str, text: str) -> Any:
    """Read a number, a list or a word, as in YAML."""
    try:
        return parse_yaml(text)
    except yaml.YAMLError as e:
        raise UserError(f"--{where} {text!r} is not a value: {e}") from e


def read_schema(path: Path) -> dict[str, Any]:
    """Read the kinds of columns, by name, from a YAML file."""
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise UserError(f"{path} is not a schema: write one with `vaekit schema SOURCE -o {path}`")
    return {str(name): value for name, value in values.items()}


UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def parse_bytes(text: str) -> int:
    """Read a size of memory or of a file, such as 2GiB, 500MB or 1.5g. KB, K and k are 1024 bytes too."""
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt])?i?b?\s*", text, re.IGNORECASE)
    size = float(found[1]) * 1024 ** (" kmgt".index((found[2] or " ").lower())) if found else 0
    if not size >= 1:
        raise UserError(f"{text!r} is not a size: write it as 500MiB or 2GiB")
    return int(size)


def size_text(size: float) -> str:
    """A size in bytes as `parse_bytes` reads it, rounded up."""
    unit = next((name for name, each in reversed(UNITS.items()) if size >= each), "KiB")
    tenths = math.ceil(10 * size / UNITS[unit])
    return f"{tenths / 10:g}{unit}"
