"""Small sets of data that come with the package, one for each kind of data: `vaekit data` writes them to files.

Where each is from, and its licence: README.md beside this file. `examples/bundled.py` made the files.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vaekit.errors import UserError, near_matches
from vaekit.files import write_atomically

HERE = Path(__file__).parent
SHEET = "clothes.png"  # a row of pictures for each class
CLOTHES = ["t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]


@dataclass(frozen=True)
class Bundled:
    """A set of data: the file or the folder that it becomes, and what a listing says of it."""

    target: str  # a folder if it ends in /
    rows: int
    what: str
    size: str
    source: str
    licence: str
    options: str = ""  # of `vaekit fit`

    @property
    def ending(self) -> str:
        return Path(self.target).suffix

    def next(self, path: str | Path) -> str:
        """Return the command that trains on the set at `path`."""
        return f"vaekit fit {path}{'' if self.ending else '/'} {self.options}".rstrip()


OWN = "made for vaekit", "Apache-2.0"
BUNDLED = {
    "clothes": Bundled(
        "clothes/", 1000, "pictures of 28x28 in 10 classes", "0.5 MB",
        "Fashion-MNIST", "MIT, (c) 2017 Zalando SE", "--condition label --size small",
    ),
    "people": Bundled(
        "people.csv", 2500, "rows of 13 columns, with gaps", "0.2 MB",
        "UCI Adult", "CC BY 4.0, B. Becker and R. Kohavi",
    ),
    "captions": Bundled("captions.txt", 2000, "short texts, one on each line", "0.1 MB", *OWN),
    "taxi": Bundled(
        "taxi.csv", 10320, "half hours of a series, with 5 odd days", "0.3 MB",
        "Numenta Anomaly Benchmark", "MIT, (c) 2014-2024 Numenta Inc.", "--kind series",
    ),
    "messages": Bundled(
        "messages.csv", 1800, "short texts with 6 labels", "0.1 MB", *OWN, "--column text --condition label",
    ),
    "notes": Bundled(
        "notes/", 200, "sounds of 4 instruments", "1.6 MB", *OWN, "--kind audio --rate 8000 --condition label --network mlp",
    ),
}  # fmt: skip


def write(name: str, path: str | Path | None = None) -> Path:
    """Write a set to `path`, or else into the current folder, whole or not at all. Return the path.

    It replaces nothing: UserError if the path exists, unless it holds this very set.
    """
    if name not in BUNDLED:
        raise UserError(f"no set of data is called {name!r}{near_matches(name, BUNDLED)}")
    chosen = BUNDLED[name]
    path = Path(path or chosen.target)
    if chosen.ending and path.suffix.lower() != chosen.ending:
        raise UserError(f"cannot write {path}: choose a name that ends in {chosen.ending}")
    if not path.parent.is_dir():
        raise UserError(f"cannot write {path}: the folder {path.parent} does not exist")
    files = contents(name)
    if holds(path, files):
        return path
    if path.exists() and (chosen.ending or not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path} exists already: choose another name with -o, or remove it")
    if chosen.ending:
        write_atomically(path, lambda to: to.write_bytes(files[""]))
    else:
        write_folder(path, files)
    return path


def contents(name: str) -> dict[str, bytes]:
    """Return the files of a set by their names within its folder; a set that is a single file has the name ""."""
    if name == "clothes":
        return clothes()
    if name == "notes":
        from vaekit.bundled.plucked import notes

        return notes()
    return {"": gzip.decompress((HERE / f"{BUNDLED[name].target}.gz").read_bytes())}


def clothes() -> dict[str, bytes]:
    """Cut the sheet into its pictures."""
    import numpy as np
    from PIL import Image

    with Image.open(HERE / SHEET) as sheet:
        pixels = np.asarray(sheet)
    side = len(pixels) // len(CLOTHES)
    found = {}
    for label, row in zip(CLOTHES, np.split(pixels, len(CLOTHES)), strict=True):
        for i, picture in enumerate(np.split(row, row.shape[1] // side, axis=1)):
            file = io.BytesIO()
            Image.fromarray(picture).save(file, "PNG")
            found[f"{label}/{i:02d}.png"] = file.getvalue()
    return found


def holds(path: Path, files: Mapping[str, bytes]) -> bool:
    """Whether these files, and no others, are at `path`."""
    same = all((path / name).is_file() and (path / name).read_bytes() == content for name, content in files.items())
    return same and (path.is_file() or sum(file.is_file() for file in path.rglob("*")) == len(files))


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Write the files to a folder beside `path`, and move it there once it is whole."""
    temporary = path.absolute().with_name(f".{path.name}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(content)
        if path.exists():
            path.rmdir()  # an empty one
        os.replace(temporary, path)
    except OSError as e:
        raise UserError(f"cannot write {path}: {e.strerror or e}. Free space, or choose another place") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def listing() -> str:
    """Return a table of the sets for people; under each stands the command to run next."""
    lines = [("name", "writes", "rows", "what", "size", "from, licence")]
    for name, each in BUNDLED.items():
        lines.append((name, each.target, f"{each.rows:,}", each.what, each.size, f"{each.source}, {each.licence}"))
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    form = "{:%d}  {:%d}  {:>%d}  {:%d}  {:%d}  {}" % tuple(wide[:-1])  # noqa: UP031
    nexts = ["", *(f"\n{'':{wide[0]}}  next: {each.next(each.target.rstrip('/'))}" for each in BUNDLED.values())]
    return "\n".join(form.format(*line) + then for line, then in zip(lines, nexts, strict=True))
