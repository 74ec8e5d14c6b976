"""Dates and times as people write them."""

from __future__ import annotations

import re
from itertools import product
from typing import Any

DAYS_FIRST = ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y")
MONTHS_FIRST = ("%m/%d/%Y", "%m-%d-%Y", "%m/%d/%y", "%m-%d-%y", "%m.%d.%Y")
YEARS_FIRST = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y %m %d")
WORDS = ("%b %d, %Y", "%B %d, %Y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d %Y", "%B %d %Y", "%d. %B %Y", "%d. %b %Y", "%d/%b/%Y")  # fmt: skip
MONTHS = ("%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%m-%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y")
TIMES = ("%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p", "%H.%M.%S")
FORMATS = (
    *(day + time for day in YEARS_FIRST for time in ("", *(s + t for s, t in product(" T", TIMES)))),
    *(day + time for day in (*DAYS_FIRST, *MONTHS_FIRST, *WORDS) for time in ("", *(s + t for s, t in product((" ", ", "), TIMES)))),
    *MONTHS,
    *TIMES,
    "%Y%m%dT%H%M%S",
    "%Y%m%d %H%M%S",
    "%d/%b/%Y:%H:%M:%S",
    "%a, %d %b %Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
)  # fmt: skip
ZONE = r"(?P<zone> ?(?:Z|UTC|GMT|[+-]\d\d:?\d\d))$"
# How many digits parts of a format have: "1.4.2" is a version, no time of day. Days, months and hours may lack a leading zero.
DIGITS = {"Y": r"\d{4}", **dict.fromkeys("yMS", r"\d{2}"), **dict.fromkeys("dmHI", r"\d{1,2}")}
ISO_DAY, ISO_TIME = "%Y-%m-%d", "%Y-%m-%d %H:%M:%S"  # which Arrow writes itself, many times faster
FIRST = 50  # cells that rule most formats out
MARK = "\x01"  # before a number whose leading zero is to go


def guess(cells: Any, order: str, rows: Any) -> tuple[Any, str, str] | None:
    """Read different texts (N,) as dates, times or times of day (N,). None if a cell is not one.

    Also returns the format that writes them in the same way, and another one that fits as well, or "".

    order: "d" or "m": whether days or months come first where the cells do not tell. rows: the cell of each row, counted from 0.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    zones = pc.struct_field(pc.extract_regex(cells, ZONE), "zone")
    if zones.null_count == cells.null_count and pc.all(pc.match_substring_regex(cells, r":|T\d{6}")).as_py():
        return zoned(cells, zones.drop_null().unique().to_pylist())
    found = fitting(cells)
    if not found:
        return iso(cells, pa.timestamp("us"))
    formats = [*found]
    rises = {f: len(found) > 1 and rising(values.take(rows)) for f, values in found.items()}
    formats.sort(key=lambda f: (not rises[f], not f.startswith(f"%{order or ('m' if '/' in f else 'd')}")))
    format, *others = formats
    values = found[format]
    other = others[0] if others and rises[others[0]] == rises[format] else ""
    exact = in_same_form(values, cells, format)
    return values, "" if exact in ("%Y-%m-%d", "%Y-%m-%d %H:%M:%S") else exact, other


def order(cells: Any) -> str:
    """ "d" or "m" if the cells are dates that show whether days or months come first, else ""."""
    import pyarrow.compute as pc

    if cells.null_count == len(cells) or not pc.all(pc.match_substring_regex(cells, r"^\d{1,2}\D\d{1,2}\D")).as_py():
        return ""
    found = {format[1] for format in fitting(cells)}
    return found.pop() if len(found) == 1 else ""


def fitting(cells: Any) -> dict[str, Any]:
    """The formats that all cells fit, and the cells read in each."""
    import pyarrow.compute as pc

    some = cells.drop_null().unique().slice(0, FIRST)
    if not pc.all(pc.match_substring_regex(some, r"^(\d|\w{3,9} \d|\w{3}-\d|\w{3},? \w{2}).{1,30}$")).as_py():
        return {}
    found = {f: parsed(cells, f) for f in FORMATS if parsed(some, f) is not None}
    return {f: values for f, values in found.items() if values is not None}


def iso(cells: Any, kind: Any) -> tuple[Any, str, str] | None:
    """Read ISO 8601 in any mixture of forms, with or without fractions of a second."""
    import pyarrow as pa

    try:
        return cells.cast(kind), "", ""
    except pa.ArrowInvalid:
        return None


def zoned(cells: Any, zones: list[str]) -> tuple[Any, str, str] | None:
    """Read times with a zone. If there are several offsets, they come back in UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    found = iso(cells, pa.timestamp("us", "UTC"))
    if len(zones) > 1:
        return found
    zone = zones[0].strip()
    kind = pa.timestamp("us", "UTC" if zone.isalpha() else f"{zone[:3]}:{zone[-2:]}")
    bare = pc.replace_substring_regex(cells, ZONE, "")
    if found is None:
        for format, local in fitting(bare).items():
            if pa.types.is_timestamp(local.type):
                return pc.assume_timezone(local, kind.tz), in_same_form(local, bare, format) + zones[0], ""
        return None
    values = found[0].cast(kind)
    formats = [f"%Y-%m-%d{s}{t}" for s, t in product(" T", TIMES[:2])]
    return values, next((f + zones[0] for f in formats if equal(write_times(values, f), bare)), ""), ""


def read_times(cells: Any, format: str) -> Any:
    """Read text in a format that was asked for, such as one that ends in a zone; None if a cell does not fit it."""
    import pyarrow.compute as pc

    zone = re.search(ZONE, format)
    if zone is None:
        return parsed(cells, format)
    found = zoned(cells, [zone[0]]) if pc.all(pc.ends_with(cells, zone[0])).as_py() else None
    return found and found[0]


def parsed(cells: Any, format: str) -> Any:
    """Read text in a format as days, times or times of day; None if a cell does not fit it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = parsed_values(cells, format)
    shape = re.sub(r"%-?(\w)", lambda part: DIGITS.get(part[1], r"\w+"), re.escape(format))
    if values.null_count > cells.null_count or not pc.all(pc.match_substring_regex(cells, f"^{shape}$")).as_py():
        return None
    timed, dated = ("%H" in format or "%I" in format), "%d" in format or "%m" in format or "%b" in format.lower()
    values = values.cast(pa.timestamp("us") if timed and dated else pa.time32("s") if timed else pa.date32())
    # There is no 31st of February, which C's strptime takes for the 2nd of March.
    written = write_times(values, format)
    return values if equal(written, cells) or equal(unpadded(written), unpadded(cells)) else None


def parsed_values(cells: Any, format: str) -> Any:
    import pyarrow.compute as pc

    return pc.strptime(cells, format=format.replace("%-", "%"), unit="s", error_is_null=True)


def parsed_cells(cells: Any, format: str) -> Any:
    """Whether cells fit the format, (N,) booleans."""
    import pyarrow.compute as pc

    return pc.is_valid(parsed_values(cells, format))


def in_same_form(values: Any, cells: Any, format: str) -> str:
    """Adapt the format if the cells differ from it only in leading zeros."""
    bare = "".join(f"%-{part[:1]}{part[1:]}" if part[:1] in ("d", "m", "H", "I") else f"%{part}" for part in format.split("%")[1:])  # fmt: skip
    bare = format.split("%")[0] + bare
    variants = [format, bare, bare.replace("%-H", "%H").replace("%-I", "%I")]
    return next((f for f in variants if equal(write_times(values, f), cells)), format)


def write_times(values: Any, format: str) -> Any:
    """Write dates and times as text. "%-d" is the day without a leading zero; "" is ISO 8601, without parts that are always zero."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(values.type):
        for unit in ("s", "ms"):
            try:
                values = values.cast(pa.timestamp(unit, values.type.tz))
                break
            except pa.ArrowInvalid:
                continue
    iso_format = {"date32[day]": ISO_DAY, "timestamp[s]": ISO_TIME}.get(str(values.type), "")
    if format in ("", iso_format) or not (
        pa.types.is_date(values.type) or pa.types.is_time(values.type) or pa.types.is_timestamp(values.type)
    ):
        return values.cast(pa.string())
    text = pc.strftime(values, format=format.replace("%-", f"{MARK}%"))
    return pc.replace_substring_regex(text, f"{MARK}0?", "") if "%-" in format else text


def rising(values: Any) -> bool:
    """Whether there are more than a few values and they rise or fall throughout."""
    import pyarrow as pa

    v = values.drop_null().cast(pa.int64() if values.type.bit_width == 64 else pa.int32()).to_numpy()
    return bool(len(v) > 5 and ((v[1:] >= v[:-1]).all() or (v[1:] <= v[:-1]).all()))


def unpadded(text: Any) -> Any:
    """Without leading zeros, in lower case."""
    import pyarrow.compute as pc

    return pc.utf8_lower(pc.replace_substring_regex(text, r"(^|\D)0(\d)", r"\1\2"))


def equal(a: Any, b: Any) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.equal(a, b)).as_py())
