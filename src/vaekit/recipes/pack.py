"""From a source to a folder of shards, which can be trained on at any size."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from vaekit import __version__
from vaekit.errors import UserError, note, tell
from vaekit.files import TEMPORARY, flush, locked, write_atomically, write_text
from vaekit.settings.parts import options_of
from vaekit.show.track import track_to
from vaekit.sources.base import Names, Told, reading
from vaekit.sources.manifest import MANIFEST, PART, Manifest, Shard, X, hash_of
from vaekit.sources.pieces import Piece, Pieces, RicherError, open_pieces
from vaekit.sources.pieces.base import PlainTold

SHARD = 256 << 20  # bytes of a part, about
GROUP, MOST_ROWS = 8 << 20, 65_536  # bytes, about, and rows of a row group: what a reader holds at a time
PARTS = "part-*.parquet"
STATE = ".pack.jsonl"
ELSEWHERE = "choose another folder, or remove it"


@dataclass
class Place:
    """The place of a row in a source: `skip` rows after the place `at`; and the notes about the source up to `at`."""

    at: int = 0
    skip: int = 0
    told: PlainTold = field(default_factory=dict)


@dataclass
class State:
    """The state that a restart needs. It is kept in the folder: a line on the source, then a line for each part.

    Attributes:
        source: hash of the source and of what is asked for. shape, dtype: of an x, as in `Manifest`.
        rows_per_shard, group_rows: of a part, and of a row group. parts: those that are written, each with the place where the next one begins.
    """

    source: str
    shape: list[int] | None
    dtype: str | None
    rows_per_shard: int
    group_rows: int
    parts: list[tuple[Shard, Place]] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> State | None:
        """Read the state of a folder. None if the folder has no state; parts whose files are gone or cut short are left out."""
        try:
            first, *lines = (folder / STATE).read_text(encoding="utf-8").splitlines(keepends=True)
            state = cls(*json.loads(first))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, OSError) as e:
            raise UserError(f"{folder / STATE} is damaged: {ELSEWHERE}") from e
        for line in lines:
            if line.endswith("\n"):  # a kill may cut the last line short
                shard, place = json.loads(line)
                if not Shard(**shard).fault(folder, whole=False):
                    state.parts.append((Shard(**shard), Place(**place)))
                    continue
            write_text(folder / STATE, first + "".join(lines[: len(state.parts)]))
            break
        return state

    @classmethod
    def begin(cls, folder: Path, pieces: Pieces, source: str, rows_per_shard: int | None) -> State:
        """Write the state of a folder without parts, and remove parts that it may have."""
        group = max(1, min(MOST_ROWS, GROUP // pieces.row_bytes))
        rows = rows_per_shard or group * max(1, SHARD // (group * pieces.row_bytes))
        about: list[Any] = [source, pieces.shape, pieces.dtype, rows, min(group, rows)]
        write_text(folder / STATE, json.dumps(about) + "\n")
        for path in folder.glob(PARTS):
            path.unlink()
        return cls(*about)

    def finished(self, folder: Path) -> bool:
        """Whether the manifest is there, and all parts that it names."""
        if not (folder / MANIFEST).exists():
            return False
        return Manifest.read(folder).shards == [shard for shard, _ in self.parts]

    def add(self, folder: Path, shard: Shard, next_place: Place) -> None:
        self.parts.append((shard, next_place))
        with (folder / STATE).open("a", encoding="utf-8") as file:
            file.write(json.dumps([asdict(shard), asdict(next_place)]) + "\n")
        flush(folder / STATE)


def pack(
    source: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    kind: str = "auto",
    rows_per_shard: int | None = None,
    **asked: Any,
) -> Path:
    """Write a source as a folder that is read piece by piece, so that it may be larger than the memory.

    The folder holds parts in Parquet and a _manifest.json; it is a source like any other. All conditions of the source come along. If a
    call was interrupted, the same call continues where it stopped, and the folder is the same to the bit.

    Args:
        source: as for `vaekit.read`; also a folder of Parquet files. "hf://name:split" is fetched row by row.
        folder: to write; it must be empty, or of the same source and arguments.
        kind: "auto", or "audio"; "actions" writes demonstrations of a robot as a folder of LeRobot.
        rows_per_shard: rows of a part; None: as many as make about 256 MiB.
        asked: resize, metadata, column, encoding, decimal, schema, strict, as for `vaekit.read`; for audio rate and seconds, as
            for `vaekit.VAE`.

    Returns:
        The folder.

    Raises:
        UserError: something is wrong with the source, the arguments or the folder; or the disk is full, and then the parts that are
            written are kept.

    Example:
        >>> folder = vaekit.pack("digits", "shards")
        >>> len(vaekit.read(folder))
        1797
    """
    folder = Path(folder).expanduser()
    check_place(folder)
    if kind == "auto":
        opener: Callable[..., Any] = open_pieces
    else:
        from vaekit.kinds import kind_part, kinds

        own = kinds()[kind_part(kind)[0]]
        if own.packer:
            resolve_name(own.packer)(source, folder, **asked)
            return folder
        opener = own.open_source
    check_asked(asked, opener, kind)
    pieces = opener(source, **asked)
    with reading(os.fspath(source), "give a smaller file"), prepared(folder):
        write_shards(pieces, folder, rows_per_shard, asked)
    return folder


def check_asked(asked: Mapping[str, Any], opener: Callable[..., Any], kind: str) -> None:
    """UserError where sources of this kind have no such option."""
    if wrong := [name for name in asked if name not in options_of(opener)]:
        flag = f"--{wrong[0]}"
        hint = f"add --kind, or leave {flag} out" if kind == "auto" else "leave it out"
        raise UserError(f"{flag} is not for {'this kind of source' if kind == 'auto' else f'--kind {kind}'}: {hint}")


def check_place(folder: Path) -> None:
    """UserError for a folder that `vaekit pack` cannot write, or that holds other things."""
    if "://" in str(folder) or ":/" in str(folder):
        raise UserError(f"{folder} is not a folder of this machine: pack into one, and copy it there")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose another name")
    if folder.exists() and not (folder / STATE).exists() and not is_empty(folder):
        raise UserError(f"{folder} is not empty, and holds no shards that `vaekit pack` began here: {ELSEWHERE}")


def is_empty(folder: Path) -> bool:
    """Whether nothing is in the folder but what a killed process left."""
    return {*folder.iterdir()} == {*folder.glob(TEMPORARY.format("*"))}


@contextmanager
def prepared(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other processes from writing to it. Without a part at the end, nothing is left behind.

    UserError if the folder cannot be written.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"cannot make the folder {folder}: {e.strerror}; choose another place") from e
    with locked(folder):
        try:
            yield
        finally:
            if not any(folder.glob(PARTS)):
                (folder / STATE).unlink(missing_ok=True)
                if made:
                    with suppress(OSError):
                        folder.rmdir()


def write_shards(pieces: Pieces, folder: Path, rows_per_shard: int | None, asked: Mapping[str, Any]) -> None:
    """Write the parts that are missing, and then the manifest."""
    identity = pieces.identity()
    source = hash_of_all(identity, pieces, rows_per_shard, asked)
    state = State.read(folder)
    if state is None:
        pieces.look()
        state = State.begin(folder, pieces, source, rows_per_shard)
    if state.source != source:
        raise UserError(
            f"{folder} holds shards of another source, or of this one before it changed, or with other options: {ELSEWHERE}"
        )
    if state.finished(folder):
        return note(f"{folder} holds all shards of {pieces.ask.text} already")
    (folder / MANIFEST).unlink(missing_ok=True)
    if state.shape is not None and state.dtype is not None:
        pieces.expect(state.shape, state.dtype)
    tell([f"parts that were there already, and were kept: {len(state.parts)}"] if state.parts else [])
    tell_space(pieces, folder, state)
    try:
        told = write_parts(pieces, folder, state)
    except RicherError as e:
        note(f"{pieces.ask.text}: a picture has more channels than those before it, so all are packed once more")
        pieces.expect(e.shape, e.dtype)
        State.begin(folder, pieces, source, rows_per_shard)
        return write_shards(pieces, folder, rows_per_shard, asked)
    rows = sum(shard.rows for shard, _ in state.parts)
    if not rows:
        raise pieces.nothing(told)
    if pieces.identity() != identity:
        raise UserError(
            f"{pieces.ask.text} changed while it was packed: remove {folder}, and pack it again when it is at rest"
        )
    tell([*pieces.notes, *pieces.notes_of(told, rows)])
    write_text(folder / MANIFEST, manifest_of(pieces, state).text())


def hash_of_all(identity: str, pieces: Pieces, rows_per_shard: int | None, asked: Mapping[str, Any]) -> str:
    """A hash of the source, and of all that decides how it is packed. The names of files are not among it."""
    options = {name: value for name, value in asked.items() if value and name != "metadata"}
    about = [__version__, identity, pieces.kind, pieces.name, rows_per_shard, options]
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()


def tell_space(pieces: Pieces, folder: Path, state: State) -> None:
    """Tell if the disk has less space than the shards may need."""
    if pieces.shape is None or pieces.length is None:
        return
    needed = pieces.length * pieces.row_bytes - sum(shard.bytes for shard, _ in state.parts)
    free = shutil.disk_usage(folder).free
    if needed > free:
        note(f"the shards need about {needed / 2**30:.1f} GiB, and {folder} has {free / 2**30:.1f} GiB free")


def write_parts(pieces: Pieces, folder: Path, state: State) -> Told:
    """Write the parts that are missing. Returns the notes about the source."""
    place = state.parts[-1][1] if state.parts else Place()
    told = defaultdict(Names, {what: Names(*names) for what, names in place.told.items()})
    read = ((piece, piece.done) for piece in pieces.read(place.at, told))
    with closing(track_to(read, pieces.length, "pack")) as shown:
        flow = Flow(shown, place)
        while (group := flow.take(state.group_rows)) is not None:
            path = folder / PART.format(len(state.parts))
            rows = write_part(path, group, flow, state)
            with writing(folder, state):
                state.add(folder, Shard(path.name, rows, path.stat().st_size, hash_of(path)), flow.place)
    return told


def write_part(path: Path, group: Any, flow: Flow, state: State) -> int:
    """Write a part, which begins with this row group. Returns its number of rows."""
    from pyarrow import parquet

    others = [name for name in group.column_names if state.shape is None or name != X]
    rows = 0

    def write(to: Path) -> None:
        nonlocal group, rows
        with writing(path.parent, state):
            writer = parquet.ParquetWriter(
                to, group.schema, write_page_checksum=True, use_dictionary=others, write_statistics=others,
                compression=dict.fromkeys(others, "zstd"),
            )  # fmt: skip
        try:
            while group is not None:
                with writing(path.parent, state):
                    writer.write_table(group, row_group_size=len(group))
                rows += len(group)
                group = flow.take(min(state.group_rows, state.rows_per_shard - rows))
        finally:
            with writing(path.parent, state):
                writer.close()

    write_atomically(path, write)
    return rows


class Flow:
    """Rows of a source, as many at a time as are wanted.

    Attributes:
        place: of the next row.
    """

    def __init__(self, pieces: Iterator[Piece], place: Place):
        self.pieces, self.place = pieces, place
        self.rows: Any = ()
        self.end = place

    def take(self, n: int) -> Any:
        """An Arrow table of the next `n` rows, or fewer at the end; None if no row is left, or wanted."""
        import pyarrow as pa

        taken = []
        while n:
            over = self.place.skip - len(self.rows)
            if over >= 0:
                piece = next(self.pieces, None)
                if piece is None:
                    break
                self.place, self.end = replace(self.end, skip=over), Place(piece.end, 0, piece.told)
                self.rows = piece.rows
                continue
            part = self.rows.slice(self.place.skip, n)
            taken.append(part)
            n -= len(part)
            self.place = replace(self.place, skip=self.place.skip + len(part))
        return pa.concat_tables(taken).combine_chunks() if taken else None


@contextmanager
def writing(folder: Path, state: State) -> Iterator[None]:
    """Turn an error of the system, such as a full disk, into a UserError."""
    try:
        yield
    except OSError as e:
        raise UserError(
            f"cannot write to {folder}: {e.strerror or e}; its parts, {len(state.parts)}, are kept: free space, and run the same "
            "command again"
        ) from e


def manifest_of(pieces: Pieces, state: State) -> Manifest:
    shards = [shard for shard, _ in state.parts]
    return Manifest(
        pieces.kind, pieces.name, sum(shard.rows for shard in shards), state.shape, state.dtype, pieces.columns,
        pieces.conditions, pieces.names, pieces.extra, shards, __version__,
    )  # fmt: skip


def check_shards(folder: Path, track: Callable[[Any], Iterator[Any]] = iter) -> list[str]:
    """Read all parts of a folder of shards, and return a line for each that is missing, or not as it was written."""
    shards = Manifest.read(folder).shards
    return [fault for shard in track(shards) if (fault := shard.fault(folder))]
