"""What the text in the cells of a table means: numbers, dates and booleans as people write them.

A column is judged by all of its cells. Notes say what was guessed; it is kept as the `format` of the Arrow field: how a
date is written ("%d.%m.%Y"), what a true boolean looks like ("True"), or the number 1234.56 ("1.234,56").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vaekit.errors import UserError
from vaekit.frame import dates
from vaekit.threads import OnAllCores

MISSING = ["", "?", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NULL", "null"]  # what stands for a missing cell
# What else does so, in lower case, where the other cells are numbers or dates.
BLANKS = (
    *("-", "--", "---", "–", "—", ".", "..", "...", "*", "na", "n.a.", "n.a", "n/d", "nd", "nat", "none", "nil", "missing"),
    *("unknown", "not available", "no data", "\\n", "#div/0!", "#value!", "#ref!", "#num!", "#name?", "(null)", "(blank)"),
    *(word.lower() for word in MISSING),
)  # fmt: skip
UNORDERED, DROP = ("binary", "categorical"), "drop"  # kinds that keep a column as it is written
POINT, COMMA = "1,234.56", "1.234,56"  # formats of numbers
SPACES = "  \u00a0\u2009\u202f"
CURRENCY = r"(?:[A-Z]{1,3})?\p{Sc}|USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|BRL|MXN|ZAR|RUB|TRY|KRW|Rs\.?|kr\.?"
NUMBER = (
    rf"^(?P<open>\()?(?P<sign>[-+−–]?)[{SPACES}]*(?P<before>{CURRENCY})?[{SPACES}]*(?P<inner>[-+−–]?)"
    rf"(?P<digits>[.,]?\d[\d.,'’{SPACES}]*?)(?P<exponent>[eE][-+]?\d+)?"
    rf"(?P<gap>[{SPACES}]*)(?P<after>{CURRENCY}|[%‰°]\p{{L}}?|\p{{L}}[\p{{L}}²³/]{{0,5}})?(?P<close>\))?(?P<minus>-)?$"
)
MEASURE = (
    r"(?:[kKMGTPhdcmµμn]?(?:m|g|s|A|V|W|Wh|Hz|Pa|J|N|L|l|B|b|eV|mol|Ω|cal|bar|bps|ohm)|mmHg|psi|ppm|ppb|rpm|mph|kph|kn|dB|px|pt|C|F|IU|"
    r"min|h|hrs?|sec|mins?|d|days?|weeks?|months?|y|yrs?|years?|hours?|in|ft|yd|mi|miles?|lbs?|oz|st|gal|t|tons?|ha|acres?|sqft|sqm|"
    r"x|[kKM]|bn|mln|pcs?)[²³]?"
)
UNIT = rf"{MEASURE}(?:/{MEASURE})?"
EXAMPLES = 4  # columns that a note shows


def digits(format: str) -> str:
    """The pattern of the digits of a number that is written as in `format`."""
    groups, decimal = (r",'’", r"\.") if format == POINT else (r".'’", ",")
    return rf"^(?:\d+|[1-9]\d{{0,2}}(?:[{groups}{SPACES}]\d{{2,3}})*[{groups}{SPACES}]\d{{3}})?(?:{decimal}\d*)?$"


@dataclass
class Found:
    """A column that was read: its values, its format ("" if that is the usual one), and what a note says about it."""

    values: Any
    format: str = ""
    note: str = ""
    choice: str = ""  # what else a cell could mean


def read_cells(
    table: Any,
    said: Mapping[str, Any],
    *,
    decimal: str | None = None,
    semicolons: bool = False,
    file: bool = True,
    schema: bool = True,
    track: Any = list,
) -> tuple[Any, list[str]]:
    """Turn columns of text into numbers, dates or booleans where their cells are such. Also returns notes on what was guessed.

    Args:
        said: for columns by name, what the user says ("kind", "format") or what the model knows ("type", "format").
        decimal: the decimal separator, "." or ",", of columns that do not show it.
        semicolons: the file has semicolons between its cells, as where a comma is the decimal separator.
        file: the cells come from a file of text, where numbers, dates and gaps are text as well.
        schema: the user can say otherwise in a schema; else in the table alone.
        track: wraps the list of columns, to show how far it has come.

    Raises UserError if a column is not what was said, or mixes numbers and words.
    """
    import pyarrow as pa

    names = [name for name in table.column_names if is_text(table[name].type)]

    def look(name: str) -> tuple[Text, Found | None, str]:
        text = Text(name, table[name], dict(said.get(name, {})), file)
        plain = text.plain()
        return text, plain, text.number_format() if plain is None else ""

    looks = dict(zip(names, track(OnAllCores(look, names)), strict=True))
    texts = {name: text for name, (text, _, _) in looks.items()}
    found = {name: plain for name, (_, plain, _) in looks.items()}
    formats = {name: format for name, (_, plain, format) in looks.items() if plain is None}
    known = {format for format in formats.values() if format in (POINT, COMMA)}
    usual = {".": POINT, ",": COMMA}.get(decimal or "") or (known.pop() if len(known) == 1 else "")
    floats = [name for name, f in found.items() if f is not None and pa.types.is_floating(f.values.type)]
    either = usual or (COMMA if semicolons and not floats else POINT)
    order = next((o for name in formats if (o := texts[name].day_order())), "")

    def judge(name: str) -> Found | None:
        return texts[name].number(formats[name], either) or texts[name].date(order)

    found |= zip(formats, track(OnAllCores(judge, list(formats))), strict=True)
    for name in floats if usual == COMMA else []:
        found[name] = texts[name].thousands() or found[name]
    notes = notes_of(found, schema)
    for i, name in enumerate(table.column_names):
        if name in texts:
            text, result = texts[name], found[name] or texts[name].left()
            field = pa.field(name, result.values.type, metadata={"format": result.format} if result.format else None)
            table = table.set_column(i, field, result.values)
            notes += text.notes if found[name] else []
    return table, notes


class Text:
    """A column of text that may turn out to be something else.

    Args:
        name, column: of the table. said, file: as of `read_cells`.
    """

    def __init__(self, name: str, column: Any, said: dict[str, Any], file: bool):
        import pyarrow as pa
        import pyarrow.compute as pc

        self.name, self.said, self.file = name, said, file
        self.own = column
        self.cells = pc.utf8_trim_whitespace(column.cast(pa.string()))
        self.cells = pc.if_else(pc.is_in(self.cells, pa.array(MISSING)), None, self.cells)
        self.kept = self.cells  # without the words that stand for a gap; once they are not plain, each text once
        self.rows: Any = None  # which of the texts each row has
        self.notes: list[str] = []
        kind, type = said.get("kind"), said.get("type", "")
        self.only_plain = kind in UNORDERED
        self.as_it_is = kind == DROP or type in TEXTS or (self.only_plain and not file)

    def left(self) -> Found:
        """The column as text."""
        return Found(self.cells if self.file else self.own)

    def plain(self) -> Found | None:
        """Read numbers and booleans as programs write them, or text that has to stay text; None if the column may be something else."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if not self.file and self.cells.null_count == len(self.cells):
            known = self.said.get(
                "type", TEXTS[0]
            )  # of a number or a date these cells are empty, whatever blanks they hold
            return self.left() if known in TEXTS or self.as_it_is else Found(self.cells)
        if self.as_it_is:
            return self.left()
        if found := self.cast():
            return found
        if self.only_plain:
            return self.left()
        blank = pc.is_in(pc.utf8_lower(self.cells), pa.array(BLANKS))
        if pc.any(blank).as_py():
            words = self.cells.filter(pc.fill_null(blank, False))
            self.kept = pc.if_else(blank, None, self.cells)
            self.notes = [
                f"column {self.name!r}: cells that were read as missing: {len(words)}, such as {first(words)!r}"
            ]
            if found := self.cast():
                return found
        self.keep_once()
        return None

    def keep_once(self) -> None:
        """Keep each text once, in the order of the rows: what they are, and what they mean, is the same in all rows."""
        encoded = self.kept.dictionary_encode().combine_chunks()
        self.kept, self.rows = encoded.dictionary, encoded.indices

    def cast(self) -> Found | None:
        """Read the cells with Arrow as numbers or booleans; None if it cannot."""
        import pyarrow as pa

        if self.said.get("format") in (POINT, COMMA):
            return None
        for kind in (pa.int64(), pa.float64(), pa.bool_()) if self.file else (pa.int64(), pa.float64()):
            try:
                values = self.kept.cast(kind)
            except pa.ArrowInvalid:
                continue
            if self.codes():
                return None
            word = first(self.kept.filter(values)) if pa.types.is_boolean(kind) else ""
            # as it was in training, or without a number to show
            quiet = self.file or is_number(self.said.get("type")) or values.null_count == len(values)
            return Found(values, word or "", "" if quiet else self.example(values))
        return None

    def codes(self) -> bool:
        """Whether the cells have digits but are not numbers: leading zeros or 0x, telephone numbers, IP addresses."""
        import pyarrow.compute as pc

        if self.is_said_number():
            return False
        some = pc.any(pc.match_substring_regex(self.kept, r"^[-+]?0[\dxX]|^\+\d+ \d")).as_py()
        return bool(some) or all_match(self.kept, r"^\d{1,3}(\.\d{1,3}){3}$")

    def is_said_number(self) -> bool:
        return self.said.get("kind") in ("real", "integer", "positive", "bounded") or is_number(self.said.get("type"))

    def number_format(self) -> str:
        """The way in which the column writes numbers: `POINT`, `COMMA`, "either" if no cell shows it, or "" if they are not numbers."""
        import pyarrow.compute as pc

        self.parts = pc.extract_regex(self.kept, NUMBER)
        if self.parts.null_count > self.kept.null_count or self.kept.null_count == len(self.kept) or self.codes():
            return ""
        written, gap = part(self.parts, "digits"), part(self.parts, "gap")
        units = [set(part(self.parts, name).drop_null().unique().to_pylist()) for name in ("before", "after")]
        if any(len(unit - {""}) > 1 for unit in units):
            return ""
        unit = next(iter(units[1] - {""}), "")
        if unit[:1].isalpha() and not pc.all(pc.match_substring_regex(part(self.parts, "after"), CURRENCY)).as_py():
            joined = pc.all(pc.and_(pc.equal(gap, ""), pc.match_substring_regex(written, r"^\d+$"))).as_py()
            apart = pc.all(pc.match_substring_regex(written, r"\d$")).as_py()
            if "" in units[1] or not (apart and (self.is_said_number() or re.fullmatch(UNIT, unit))):
                return ""  # such as "5.png", "12 A" beside "12"
            if joined and len(unit) == 1:
                return ""  # such as "4G" or "3A"
        fits = [format for format in (POINT, COMMA) if all_match(written, digits(format))]
        asked = self.said.get("format")
        if asked in fits:
            return str(asked)
        if len(fits) == 2:
            return "either" if pc.any(pc.match_substring_regex(written, "[.,]")).as_py() else POINT
        return fits[0] if fits else ""

    def number(self, format: str, either: str) -> Found | None:
        """Read the column as numbers in this format, or in `either` if no cell shows the format."""
        import pyarrow.compute as pc

        if not format:
            asked = self.said.get("format")
            if asked in (POINT, COMMA):
                raise self.unlike(f"numbers such as {asked}", pc.is_valid(self.parts))
            return None
        choice = ""
        if format == "either":
            format = either
            cell = first(self.kept.filter(pc.match_substring_regex(part(self.parts, "digits"), "[.,]")))
            choice = f"{self.name!r} ({cell!r} may have a decimal {'point' if format == COMMA else 'comma'})"
        values = self.numbers(format)
        told = self.said.get("format") == format
        return Found(values.take(self.rows), format, "" if told else self.example(values), "" if told else choice)

    def numbers(self, format: str) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        decimal = format[-3]
        text = pc.replace_substring_regex(part(self.parts, "digits"), rf"[^\d{decimal}]", "")
        text = pc.replace_substring(text, ",", ".") if decimal == "," else text
        text = pc.binary_join_element_wise(text, part(self.parts, "exponent"), "")
        negative = [pc.is_in(part(self.parts, name), pa.array(["-", "−", "–", "("])) for name in ("sign", "inner", "open", "minus")]  # fmt: skip
        minus = pc.if_else(pc.or_(pc.or_(negative[0], negative[1]), pc.or_(negative[2], negative[3])), "-", "")
        text = pc.binary_join_element_wise(minus, text, "")
        text = pc.if_else(pc.is_valid(self.kept), text, None)
        whole = not pc.any(pc.match_substring_regex(text, r"[.eE]|\d{19}")).as_py()
        return text.cast(pa.int64() if whole else pa.float64())

    def thousands(self) -> Found | None:
        """Read numbers such as 1.234 as thousands: the other columns of the table have a decimal comma."""
        import pyarrow.compute as pc

        self.parts = pc.extract_regex(self.cells, NUMBER)
        if self.said or not all_match(part(self.parts, "digits"), digits(COMMA)):
            return None
        values = self.numbers(COMMA)
        return Found(
            values, COMMA, self.example(values), f"{self.name!r} ({first(self.cells)!r} may have a decimal point)"
        )

    def day_order(self) -> str:
        """ "d" if dates have the day before the month, "m" if they have the month first; "" if no cell shows it."""
        return dates.order(self.kept)

    def date(self, order: str) -> Found | None:
        import pyarrow.compute as pc

        asked = self.said.get("format") if self.said.get("kind") in (None, "date", "ordinal") else None
        if asked and (values := dates.read_times(self.kept, asked)) is not None:
            return Found(values.take(self.rows), asked)
        if asked and self.said.get("kind"):
            raise self.unlike(f"dates such as {asked}", dates.parsed_cells(self.kept, asked))
        found = None if self.kept.null_count == len(self.kept) else dates.guess(self.kept, order, self.rows)
        if found is None:
            self.reject_mixture()
            return None
        values, format, other = found
        shown = first(pc.drop_null(self.kept))
        choice = f"{self.name!r} ({shown!r} may be {other})" if other else ""
        plain = self.file and not other and (not format or format.startswith("%Y-%m-%d"))
        return Found(values.take(self.rows), format, "" if plain else self.example(values), choice)

    def reject_mixture(self) -> None:
        """UserError if most cells of a column are numbers and some are words: each number would become a category."""
        import pyarrow.compute as pc

        if self.codes() or self.said.get("kind") == "ordinal":
            return
        written = part(self.parts, "digits")
        units = pc.equal(pc.binary_join_element_wise(part(self.parts, "before"), part(self.parts, "after"), ""), "")
        marks = [pc.and_(units, pc.match_substring_regex(written, digits(format))) for format in (POINT, COMMA)]
        number = pc.fill_null(pc.or_(*marks), False)
        share = (pc.sum(number.take(self.rows)).as_py() or 0) / max(1, len(self.cells) - self.cells.null_count)
        if share <= (0.5 if self.file else 0.9):
            return
        if pc.all(number).as_py():
            rows = [pc.index(pc.fill_null(mark, True).take(self.rows), False).as_py() for mark in marks]
            a, b = (self.cells[row].as_py() for row in rows)
            raise UserError(
                f"column {self.name!r} has a decimal comma in {a!r} (row {rows[0]}, the first is 0) and a decimal point in {b!r} "
                f"(row {rows[1]}): write all numbers in one way, or keep the column as text (schema: {self.name}: categorical)"
            )
        raise self.unlike("numbers", number, f"column {self.name!r} mixes numbers and words")

    def unlike(self, wanted: str, fits: Any, problem: str = "") -> UserError:
        import pyarrow.compute as pc

        row = pc.index(pc.fill_null(fits, False).take(self.rows), False).as_py()
        problem = problem or f"column {self.name!r} does not hold {wanted}"
        return UserError(
            f"{problem}: row {row} (the first is 0) has {str(self.cells[row].as_py())[:50]!r}; correct it, empty it if it is "
            f"missing, drop the column, or keep it as text (schema: {self.name}: categorical)"
        )

    def example(self, values: Any) -> str:
        """ "price ('$3,724.04' is 3724.04)" """
        import pyarrow as pa
        import pyarrow.compute as pc

        # The first of the longest cells shows most, above all one that is not a plain number.
        odd = pc.match_substring_regex(self.kept, r"[^-.\d]").cast(pa.int32())
        length = pc.add(pc.utf8_length(self.kept), pc.multiply(odd, 1000))
        row = pc.index(length, pc.max(length)).as_py()
        value = values.slice(row, 1).cast(pa.string())[0].as_py()
        return f"{self.name} ({self.kept[row].as_py()!r} is {value.removesuffix('.0').removesuffix('.000000')})"


TEXTS = ("string", "large_string", "string_view")


def notes_of(found: Mapping[str, Found | None], schema: bool) -> list[str]:
    """Write notes on columns that were read as something other than text."""
    import pyarrow as pa

    same = "they come back in the same form; " if schema else ""
    otherwise = "the schema can keep one as text (categorical) or say how it is written (format)" if schema else (
        "if that is wrong, write 1234.5 and 2024-01-31"
    )  # fmt: skip
    read = [f for f in found.values() if f is not None and f.note]
    notes = []
    for what, some, back in (
        ("numbers", [f for f in read if not pa.types.is_temporal(f.values.type)], "they come back as plain numbers; "),
        ("dates", [f for f in read if pa.types.is_temporal(f.values.type)], same),
    ):
        if some:
            notes.append(f"columns that were read as {what}: {listed([f.note for f in some])}; {back}{otherwise}")
    for f in found.values():
        if f is not None and f.choice:
            remedy = ("--decimal or " if f.format in (POINT, COMMA) else "") + "a format in the schema changes that"
            notes.append(
                f"no cell shows how to read column {f.choice}, so it was read as {f.format}: {remedy if schema else otherwise}"
            )
    return notes


def as_said(schema: Mapping[Any, Any] | None) -> dict[str, dict[str, Any]]:
    """Turn what a user says about columns, a kind or a dict with more, into dicts by name."""
    return {str(name): dict(s) if isinstance(s, Mapping) else {"kind": s} for name, s in (schema or {}).items()}


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - EXAMPLES} more" if len(names) > EXAMPLES else ""
    return ", ".join(names[:EXAMPLES]) + more


def write_cells(column: Any, format: str) -> Any:
    """Write a column of dates or booleans as text in this format; leave any other as it is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type) and format:
        other = "false" if format.islower() else "FALSE" if format.isupper() else "False"
        return pc.if_else(column, format, other[: len(format)] if len(format) == 1 else other)
    return dates.write_times(column, format) if pa.types.is_temporal(column.type) else column


def format_of(field: Any) -> str:
    """The format that an Arrow field keeps."""
    return (field.metadata or {}).get(b"format", b"").decode()


def is_text(kind: Any) -> bool:
    from pyarrow import types

    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)


def is_number(kind: str | None) -> bool:
    """Whether this is the name of one of Arrow's types of numbers."""
    return bool(kind) and str(kind).startswith(("int", "uint", "double", "float", "halffloat", "decimal"))


def part(parts: Any, name: str) -> Any:
    import pyarrow.compute as pc

    return pc.struct_field(parts, name)


def all_match(column: Any, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(column, pattern)).as_py())


def first(column: Any) -> Any:
    found = column.drop_null()
    return found[0].as_py() if len(found) else None
