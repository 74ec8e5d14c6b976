"""Bodies that are files: what they are called in HTTP, and how they become rows."""

from __future__ import annotations

import io
import math
import struct
import wave
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaekit.errors import UserError
from vaekit.forms.base import Form

MOST_ROWS = 1 << 20  # of an Arrow stream: rows of nulls take no bytes, and so no limit of bytes stops them
MOST_PIXELS = 1 << 26  # of a PNG, which can be a thousand times larger than its file
WIDTHS = {1: "u1", 2: "<i2", 4: "<i4"}


@dataclass(frozen=True)
class Media:
    """A type of file.

    Attributes:
        type: its name in HTTP. read: its bytes -> rows. write: rows -> its bytes. Both see the form of the rows.
    """

    type: str
    read: Callable[[bytes, Form], Any]
    write: Callable[[Any, Form], bytes]


def read_npy(data: bytes, form: Form | None = None) -> np.ndarray:
    file, npy = io.BytesIO(data), np.lib.format
    try:
        header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        shape, fortran, dtype = header(file)
        # A header may claim any size: compare before memory is allocated.
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
            raise ValueError
        values = np.frombuffer(data, dtype, offset=file.tell())
        return values.reshape(shape[::-1]).T if fortran else values.reshape(shape)
    except Exception:  # the errors of the header's parser share no base
        raise UserError("the body is not a .npy file of numbers, or is damaged: write it with numpy.save") from None


def write_npy(rows: Any, form: Form | None = None) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(rows), allow_pickle=False)
    return buffer.getvalue()


def read_png(data: bytes, form: Any) -> np.ndarray:
    """One picture, (1, H, W) or (1, H, W, channels), from the model's black to its white."""
    image = pillow()
    try:
        with image.open(io.BytesIO(data), formats=["PNG"]) as file:
            if file.width * file.height > MOST_PIXELS:
                raise UserError(f"the picture has {file.width}x{file.height} pixels: make it smaller")
            deep = file.mode.startswith("I")  # of 16 bits
            shades = file if deep else file.convert({1: "L", 3: "RGB", 4: "RGBA"}[form.channels or 1])
            pixels = np.asarray(shades) / (65535 if deep else 255)
    except UserError:
        raise
    except Exception as e:  # the errors of Pillow's decoders share no base
        raise UserError(f"the body is not a PNG, or is damaged ({str(e)[:80]})") from None
    values = pixels[None] * (form.white - form.black) + form.black
    return np.rint(values) if np.dtype(form.dtype).kind in "iu" else values


def write_png(rows: np.ndarray, form: Any) -> bytes:
    """Pictures, beside each other."""
    image, rows = pillow(), np.asarray(rows, dtype=np.float64)
    if form.channels and form.axes == "chw":
        rows = np.moveaxis(rows, 1, 3)
    pixels = np.rint(np.clip((rows - form.black) / (form.white - form.black), 0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    image.fromarray(np.concatenate(pixels, axis=1).squeeze()).save(buffer, "PNG")
    return buffer.getvalue()


def pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise UserError("this service has no Pillow, and so no PNG: use JSON or .npy") from None
    return Image


def read_wav(data: bytes, form: Any) -> np.ndarray:
    """One clip, (1, T) or (1, T, channels), of the model's own rate."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            samples = np.frombuffer(file.readframes(file.getnframes()), WIDTHS[width])
        samples = samples.reshape(1, -1) if channels == 1 else samples.reshape(1, -1, channels)
    except Exception as e:  # the errors of its parser share no base
        raise UserError(f"the body is not a WAV file of 8, 16 or 32 bits, or is damaged ({str(e)[:80]})") from None
    if rate != form.rate:
        raise UserError(f"the clip has {rate} samples per second, and the model's have {form.rate}: resample it")
    return samples


def write_wav(rows: np.ndarray, form: Any) -> bytes:
    """Clips, one after the other."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(form.rate)
        file.writeframes(np.rint(np.concatenate(rows) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def read_arrow(data: bytes, form: Form) -> Any:
    arrow = pyarrow()
    try:
        for message in arrow.ipc.MessageReader.open_stream(data):
            if is_compressed(message):
                raise UserError("the Arrow stream is compressed: write it without compression")
        with arrow.ipc.open_stream(data) as reader:
            names = reader.schema.names
            if len(set(names)) < len(names):
                raise UserError("the Arrow stream has two columns of one name: rename one")
            batches = list(reader)
        if sum(batch.num_rows for batch in batches) > MOST_ROWS:  # of nulls, which take no bytes
            raise UserError("the Arrow stream has too many rows: send fewer at once")
        table = arrow.Table.from_batches(batches, reader.schema)
        table.validate(full=True)
        return dict(zip(names, (c.to_numpy() for c in table.columns), strict=True))
    except (arrow.ArrowException, OSError, ValueError, struct.error) as e:
        if isinstance(e, UserError):
            raise
        raise UserError(f"the body is not an Arrow stream, or is damaged ({str(e)[:80]})") from None


def is_compressed(message: Any) -> bool:
    """Whether a message of an Arrow stream has compressed buffers, which may unpack to a thousand times their size.

    pyarrow does not say so. In the FlatBuffers table of a message the third field is its header; in that of a record batch the fourth
    is the compression (https://arrow.apache.org/docs/format/Columnar.html).
    """
    if message.type != "record batch":
        return False
    data = message.metadata.to_pybytes()

    def field(table: int, i: int) -> int:
        vtable = table - struct.unpack_from("<i", data, table)[0]
        inside = 4 + 2 * i < struct.unpack_from("<H", data, vtable)[0]
        return struct.unpack_from("<H", data, vtable + 4 + 2 * i)[0] if inside else 0

    (root,) = struct.unpack_from("<I", data, 0)
    header = root + field(root, 2)
    batch = header + struct.unpack_from("<I", data, header)[0]
    return field(batch, 3) != 0


def write_arrow(rows: Any, form: Any) -> bytes:
    arrow, buffer = pyarrow(), io.BytesIO()
    if not isinstance(rows, dict):
        names = form.columns or [f"x{i}" for i in range(rows.shape[1])]
        rows = dict(zip(names, rows.T, strict=True))
    table = arrow.table({name: arrow.array(values, from_pandas=True) for name, values in rows.items()})
    with arrow.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def pyarrow() -> Any:
    try:
        import pyarrow.ipc
    except ImportError:
        raise UserError("this service has no pyarrow, and so no Arrow: use JSON") from None
    return pyarrow


MEDIA = {
    "npy": Media("application/x-npy", read_npy, write_npy),
    "png": Media("image/png", read_png, write_png),
    "wav": Media("audio/wav", read_wav, write_wav),
    "arrow": Media("application/vnd.apache.arrow.stream", read_arrow, write_arrow),
}
