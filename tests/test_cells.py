"""What the text in cells means: numbers, dates and booleans in the forms in which people write them."""

from __future__ import annotations

import datetime
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import csv

import vaekit
from conftest import vaekit as command_line
from vaekit.errors import Note, UserError
from vaekit.frame import to_frame
from vaekit.frame.cells import format_of, read_cells, write_cells
from vaekit.frame.dates import FORMATS
from vaekit.show import track
from vaekit.sources import tables

few = settings(max_examples=40, deadline=None)


def read(cells: dict[str, Any], **options: Any) -> tuple[pa.Table, list[str]]:
    return read_cells(pa.table({name: pa.array(c, pa.string()) for name, c in cells.items()}), {}, **options)


def write(value: float, places: int, decimal: str, group: str) -> str:
    return f"{value:,.{places}f}".replace(",", "x").replace(".", decimal).replace("x", group)


def plain(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


# -- numbers -----------------------------------------------------------------------------------------------------------


@few
@given(
    st.lists(st.integers(0, 10**9), min_size=2, max_size=12),
    st.sampled_from([(".", ","), (",", "."), (",", " "), (",", "\u202f"), (".", "'"), (",", ""), (".", "")]),
    st.sampled_from(["{}", "${}", "{} €", "€ {}", "{}%", "CHF {}", "{} kg", "R${}"]),
    st.sampled_from([None, "-{}", "({})", "−{}", "{}-"]),
    st.sampled_from([None, "-", "n/a", "#DIV/0!"]),
)
def test_numbers_in_any_notation_are_the_same_numbers(
    whole: list[int], notation: tuple[str, str], unit: str, negative: str | None, blank: str | None
) -> None:
    values = [v / 100 for v in whole]
    cells = [unit.format(write(v, 2, *notation)) for v in values]
    if negative:
        values[0], cells[0] = -values[0], negative.format(cells[0])
    found, notes = read({"x": [*cells, *([blank] if blank else [])]})
    assert found["x"].to_pylist()[: len(values)] == pytest.approx(values)
    assert found["x"].null_count == bool(blank)
    assert [note for note in notes if "x" in note] or all(plain(cell) for cell in cells)


@pytest.mark.parametrize("unit", ["kg", " km/h", " m²", "°C", " mmHg", " years", "ms", " µg/m³", " EUR", "%"])
def test_the_unit_of_all_cells_is_left_out(unit: str) -> None:
    assert read({"x": [f"5{unit}", f"17{unit}"]})[0]["x"].to_pylist() == [5, 17]


def test_a_unit_that_nobody_knows_is_left_out_where_the_schema_says_so() -> None:
    table = pa.table({"x": ["5 eggs", "17 eggs"]})
    assert read_cells(table, {"x": {"kind": "integer"}})[0]["x"].to_pylist() == [5, 17]
    assert read_cells(table, {})[0]["x"].to_pylist() == ["5 eggs", "17 eggs"]


def test_a_note_names_the_columns_and_shows_a_cell_of_each() -> None:
    _, notes = read({"price": ["$1,234.50", "$2.00"], "share": ["5.3%", "0.1%"], "plain": ["1", "2"]})
    assert len(notes) == 1
    assert "price ('$1,234.50' is 1234.5), share ('5.3%' is 5.3)" in notes[0]
    assert "come back as plain numbers" in notes[0]


def test_a_cell_that_does_not_tell_is_read_as_the_other_columns_are() -> None:
    cells = {"a": ["1,234", "7,988"], "point": ["1.234", "2.345"]}
    for other, a, point in (
        ({}, 1234, 1.234),
        ({"b": ["13,6", "2,5"]}, 1.234, 1234),
        ({"b": ["$1.50", "$2.00"]}, 1234, 1.234),
    ):
        found, notes = read({**cells, **other})
        assert (found["a"][0].as_py(), found["point"][0].as_py()) == (a, point)
        assert any("no cell shows how to read column 'a' ('1,234' may have a decimal" in note for note in notes)
    assert read(cells, decimal=",")[0]["a"].to_pylist() == [1.234, 7.988]
    assert read({"a": cells["a"]}, semicolons=True)[0]["a"].to_pylist() == [1.234, 7.988]


@pytest.mark.parametrize(
    "cells",
    [
        ["02138", "10115"],
        ["00", "12"],
        ["+49 170 123 456", "+1 222 333 444"],
        ["192.168.100.101", "192.168.100.102"],
        ["4G", "5G"],
        ["5.png", "17.png"],
        ["12a", "12b"],
        ["12a", "13a"],
        ["12 Road", "7 Road"],
        ["1,2,3", "4,5"],
        ["item 1", "item 2"],
        ["$5", "€5"],
        ["5 kg", "3 lb"],
        ["30.02.2020", "01.01.2020"],  # there is no such day
        ["25:00", "12:00"],
        ["may", "june"],
    ],
    ids=lambda c: c[0],
)
def test_what_is_neither_number_nor_date_stays_text(cells: list[str]) -> None:
    for file in (True, False):
        found, notes = read({"x": cells}, file=file)
        assert found["x"].to_pylist() == cells
        assert notes == []


def test_columns_of_two_minds_are_told() -> None:
    with pytest.raises(UserError, match=r"decimal comma in '1,5' \(row 0, .*\) and a decimal point in '2.5' \(row 1\)"):
        read({"x": ["1,5", "2.5"]})
    with pytest.raises(UserError, match=r"column 'x' mixes numbers and words: row 2 .* has 'many'.*x: categorical"):
        read({"x": ["1.234,5", "2,5", "many"]})
    table = pa.table({"x": ["36", "38", "40", "M"]})
    assert read_cells(table, {"x": {"kind": "categorical"}})[0]["x"].to_pylist() == ["36", "38", "40", "M"]


GAPS = st.sampled_from(["", "NA", "-", "unknown"])
SAME = st.sampled_from(
    [
        ["1,5", "2,25", "1.000,5"], ["$1", "$1,200.50"], ["3.2.2024", "31.12.2023"], ["1/2/2024", "3/4/2024"], ["07:30", "12:05"],
        ["2024-01-31 10:00:00", "2023-02-28 00:00:01"], ["2024-01-31T10:00Z"], ["007", "12"], ["red", "blue"], ["1,234", "2,345"],
        ["30.2.2024", "1.3.2024"], ["12", "a"], ["12", "13", "14", "a"], ["1.5", "1,5"],
    ]
)  # fmt: skip


@few
@given(st.data(), SAME, st.integers(2, 5), st.booleans())
def test_cells_mean_the_same_however_often_each_comes(data: Any, pool: list[str], times: int, file: bool) -> None:
    cells = data.draw(st.lists(st.sampled_from(pool), min_size=6, max_size=9)) + data.draw(st.lists(GAPS, max_size=3))
    cells = data.draw(st.permutations(cells))

    def found(cells: list[str]) -> Any:
        try:
            table, _ = read({"x": cells}, file=file)
        except UserError as error:
            return re.sub(r"row \d+", "row", str(error))
        return table["x"].to_pylist(), table["x"].type, format_of(table.schema.field("x"))

    once, often = found(cells), found([cell for cell in cells for _ in range(times)])
    assert often == once if isinstance(once, str) else often[1:] == once[1:]
    if not isinstance(once, str):
        assert often[0] == [value for value in once[0] for _ in range(times)]


def test_a_column_of_words_for_nothing_is_empty() -> None:
    table, notes = read({"x": ["-", "unknown"]}, file=False)
    assert table["x"].null_count == 2
    assert notes == ["column 'x': cells that were read as missing: 2, such as '-'"]


def test_a_large_table_shows_how_far_its_columns_are_read(monkeypatch: Any, capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1.2.2024,x\n2.2.2024,y\n")
    monkeypatch.setattr(track, "EVERY", 0)
    vaekit.read(tmp_path / "x.csv")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(tables, "MANY", 4)
    vaekit.read(tmp_path / "x.csv")
    assert capsys.readouterr().err.splitlines() == ["read: 50%", "read: 100%", "read: 50%", "read: 100%"]


# -- dates -------------------------------------------------------------------------------------------------------------


@few
@given(
    st.sampled_from(FORMATS),
    st.lists(st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2049, 1, 1)), min_size=3, max_size=9),
)
def test_dates_in_any_form_are_the_same_dates_and_are_written_so(format: str, times: list[datetime.datetime]) -> None:
    times = [t.replace(microsecond=0) for t in times] + [datetime.datetime(2000, 12, 31, 23, 59, 59)]
    cells = [t.strftime(format) for t in times]
    found, _ = read({"x": cells})
    values = found["x"]
    assert pa.types.is_temporal(values.type)
    assert write_cells(values, format_of(found.schema.field("x"))).to_pylist() == cells
    wanted = [datetime.datetime.strptime(cell, format) for cell in cells]
    if pa.types.is_timestamp(values.type):
        assert values.to_pylist() == wanted
    elif pa.types.is_date(values.type):
        assert values.to_pylist() == [w.date() for w in wanted]
    else:
        assert values.to_pylist() == [w.time() for w in wanted]


@pytest.mark.parametrize(
    ("cells", "first"),
    [
        (["2020-01-01T05:00:00Z", "2021-12-31T07:30:00Z"], datetime.datetime(2020, 1, 1, 5, tzinfo=datetime.UTC)),
        (["2020-01-01 05:00:00+02:00", "2020-01-02 05:00:00+02:00"], datetime.datetime(2020, 1, 1, 3, tzinfo=datetime.UTC)),
        (["1/2/2020 5:03", "11/13/2020 15:03"], datetime.datetime(2020, 1, 2, 5, 3)),
        (["1.2.2020", "31.12.2020"], datetime.date(2020, 2, 1)),
        (["2020-01-01 00:00:00.123", "2020-01-01 00:00:00.500"], datetime.datetime(2020, 1, 1, 0, 0, 0, 123000)),
        (["18.00.00", "07.30.00"], datetime.time(18)),
        (["2020-01-01 05:00:00 UTC", "2020-01-02 05:00:00 UTC"], datetime.datetime(2020, 1, 1, 5, tzinfo=datetime.UTC)),
        (["20200101T050000Z", "20200102T233000Z"], datetime.datetime(2020, 1, 1, 5, tzinfo=datetime.UTC)),
        (["20200101T050003", "20200102T233003"], datetime.datetime(2020, 1, 1, 5, 0, 3)),
        (["01/Jan/2020:05:00:03 +0200", "13/Jan/2020:05:00:03 +0200"], datetime.datetime(2020, 1, 1, 3, 0, 3, tzinfo=datetime.UTC)),
        (["Wed, 01 Jan 2020 05:00:03 GMT", "Thu, 02 Jan 2020 05:00:03 GMT"], datetime.datetime(2020, 1, 1, 5, 0, 3, tzinfo=datetime.UTC)),
    ],
    ids=str,
)  # fmt: skip
def test_zones_fractions_and_days_without_zeros(cells: list[str], first: Any) -> None:
    found, _ = read({"x": cells})
    assert found["x"][0].as_py() == first
    assert [c.rstrip("0") for c in write_cells(found["x"], format_of(found.schema.field("x"))).to_pylist()] == [
        c.rstrip("0") for c in cells
    ]


def test_versions_scores_and_ratios_are_no_times() -> None:
    columns = {
        "version": ["1.4.2", "2.10.0", "1.12.9"],
        "score": ["1:3", "2:2", "0:1"],
        "ratio": ["1:3:6", "2:4:9", "12:5:1"],
        "hex": ["0xff", "0x1a", "0x02"],
    }
    found, notes = read(columns)
    assert found.to_pydict() == columns
    assert notes == []


def test_days_or_months_first_is_told_by_other_columns_by_order_or_by_the_user() -> None:
    unclear = ["05/01/2020", "03/04/2020", "04/02/2020"]
    for other, day in (({}, (2020, 5, 1)), ({"b": ["31/01/2020"] * 3}, (2020, 1, 5))):
        found, notes = read({"a": unclear, **other})
        assert found["a"][0].as_py() == datetime.date(*day)
        assert any("no cell shows how to read column 'a'" in note for note in notes)
    found, notes = read(
        {"a": ["05/01/2020", "06/01/2020", "07/01/2020", "08/01/2020", "09/01/2020", "01/02/2020"]}
    )  # rising, as days first
    assert found["a"][0].as_py() == datetime.date(2020, 1, 5)
    table = pa.table({"a": unclear})
    found, notes = read_cells(table, {"a": {"kind": "date", "format": "%d/%m/%Y"}})
    assert (found["a"][0].as_py(), notes) == (datetime.date(2020, 1, 5), [])
    with pytest.raises(UserError, match=r"'a' does not hold dates such as %d.%m.%Y: row 0 .* has '05/01/2020'"):
        read_cells(table, {"a": {"kind": "date", "format": "%d.%m.%Y"}})


# -- there and back ----------------------------------------------------------------------------------------------------


TEXT = "zip;price;day;ok;when;x\n" + "".join(
    f"{i % 90:05d};{write(i / 4 + 1000, 2, ',', '.')} €;{1 + i % 28}.{1 + i % 12}.2020;{'True' if i % 3 else 'False'};"
    f"2020-01-{1 + i % 28:02d}T{i % 24:02d}:00:00Z;{i % 7},5\n"
    for i in range(400)
)


def test_a_file_comes_back_in_the_forms_it_had(tmp_path: Path) -> None:
    """What is there stays as it is, and what is drawn or filled is written like it."""
    (tmp_path / "t.csv").write_text(TEXT)
    with pytest.warns(Note, match="read as numbers: price"):
        data = vaekit.read(tmp_path / "t.csv")
    fitted = vaekit.VAE(epochs=1, latent_dim=2, size="small", sampler="prior").fit_data(data)
    fitted.save(tmp_path / "run")
    kinds = {name: c.kind for name, c in fitted.kind_.schema.items()}
    assert kinds == {
        "zip": "categorical",
        "price": "positive",
        "day": "date",
        "ok": "binary",
        "when": "date",
        "x": "ordinal",
    }
    # One row of it would tell neither the decimal separator nor which comes first, days or months.
    (tmp_path / "gaps.csv").write_text(
        "zip;price;day;ok;when;x\n00001;1.001;5.1.2020;;2020-01-01T05:00:00Z;\n;;;True;;1,5\n"
    )
    command_line("impute", tmp_path / "run", tmp_path / "gaps.csv", "-o", tmp_path / "full.csv", check=0)
    text = csv.ConvertOptions(column_types=dict.fromkeys(kinds, pa.string()))
    full = csv.read_csv(tmp_path / "full.csv", convert_options=text).to_pylist()
    assert {**full[0], "ok": "", "x": ""} == {
        "zip": "00001", "price": "1001", "day": "5.1.2020", "ok": "", "when": "2020-01-01T05:00:00Z", "x": "",
    }  # fmt: skip
    command_line("sample", tmp_path / "run", "-n", 50, "-o", tmp_path / "drawn.csv", check=0)
    drawn = csv.read_csv(tmp_path / "drawn.csv", convert_options=text).to_pylist()
    for row in (*full, *drawn):
        assert len(row["zip"]) == 5
        assert row["ok"] in ("True", "False")
        assert row["when"].endswith(":00:00Z")
        assert [str(int(part)) for part in row["day"].split(".")] == row["day"].split(".")
        assert 1000 <= float(row["price"]) <= 1100


def test_text_in_a_data_frame_is_read_as_in_a_file_and_dates_stay_text() -> None:
    rows = pd.DataFrame(
        {
            "price": [f"{i / 4:.2f}" for i in range(300)],
            "day": [f"{1 + i % 28:02d}.{1 + i % 12:02d}.2020" for i in range(300)],
            "zip": [f"{i % 50:05d}" for i in range(300)],
        }
    )
    with pytest.warns(Note, match="price .*come back as plain numbers"):
        model = vaekit.VAE(epochs=1, latent_dim=2, size="small", sampler="prior").fit(rows)
    with warnings.catch_warnings():  # at use nothing is guessed, so there is nothing to say
        warnings.simplefilter("error")
        assert np.isfinite(model.score_samples(rows[:20], k=3)).all()
    drawn = model.sample(20)
    assert drawn["price"].between(0, 75).all()
    assert drawn["day"].str.fullmatch(r"\d\d\.\d\d\.2020").all()
    assert set(drawn["zip"]) <= set(rows["zip"])
    gaps = rows.assign(day=rows["day"].where(np.arange(300) % 9 > 0))
    pd.testing.assert_frame_equal(model.impute(gaps)[gaps.notna().all(axis=1)][["day", "zip"]], rows[gaps.notna().all(axis=1)][["day", "zip"]])  # fmt: skip
    assert to_frame(rows, {"price": {"kind": "categorical"}}).table()["price"].to_pylist() == rows["price"].tolist()


def test_what_spreadsheets_and_tools_put_around_a_table_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("# made by a tool\n# on a Monday, late\na;b;;\n1,5;x;;\n2,5;;;\n;;;\n;;;\n")
    with pytest.warns(Note) as told:
        data = vaekit.read(path)
    assert data.x.table().to_pydict() == {"a": [1.5, 2.5], "b": ["x", None]}
    said = [str(w.message) for w in told]
    for what in (
        "begin with # and were skipped: 2",
        "without a name that were left out: 2",
        "rows at its end that were left out: 2",
    ):
        assert any(what in line for line in said)
    path.write_text("#a,b\n1,x\n2,y\n")
    assert vaekit.read(path).columns == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (pd.period_range("2000-01", periods=30, freq="M"), "periods"),
        (pd.interval_range(0, 30), "intervals"),
        (pd.cut(np.arange(30), 3), "intervals"),
        ([[1]] * 30, "lists"),
        ([{"a": 1}] * 30, "dicts"),
        ([b"a"] * 30, "bytes"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_types_are_named_as_people_name_them(values: Any, words: str) -> None:
    with pytest.raises(UserError, match=f"column 'c' holds {words}: leave it out"):
        vaekit.VAE(epochs=1).fit(pd.DataFrame({"c": values, "x": np.arange(30) / 7}))


def test_text_in_parquet_and_json_lines_is_read_as_in_a_data_frame(tmp_path: Path) -> None:
    rows = pd.DataFrame({"price": ["$1.50", "$2.50"], "day": ["31.01.2020", "01.02.2020"], "zip": ["02138", "10115"], "mixed": ["1", "b"]})  # fmt: skip
    rows.to_parquet(tmp_path / "t.parquet")
    rows.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for name in ("t.parquet", "t.jsonl"):
        with pytest.warns(Note, match="read as numbers: price"):
            found = vaekit.read(tmp_path / name).x.table()
        assert found.to_pydict() == {
            "price": [1.5, 2.5], "day": [datetime.date(2020, 1, 31), datetime.date(2020, 2, 1)],
            "zip": ["02138", "10115"], "mixed": ["1", "b"],
        }  # fmt: skip
        assert vaekit.read(tmp_path / name, column="price").x.tolist() == ["$1.50", "$2.50"]


@pytest.mark.parametrize(("first", "cell"), [("sep=;\n", ";"), ("sep=|\r\n", "|"), ("", "|"), ("", ";"), ("", "\t")])
def test_cells_are_told_apart_by_what_the_file_has_between_them(first: str, cell: str, tmp_path: Path) -> None:
    rows = [["a", "b"], ["1", "x,z"], ["2", "y"]]
    (tmp_path / "a.csv").write_text(first + "".join(cell.join(row) + "\n" for row in rows))
    assert vaekit.read(tmp_path / "a.csv").x.table().to_pydict() == {"a": [1, 2], "b": ["x,z", "y"]}


def test_conditions_on_times_are_written_as_their_column_is(tmp_path: Path) -> None:
    days = pd.date_range("2021-01-01", periods=60)
    rows = pd.DataFrame({"day": days.strftime("%d.%m.%Y"), "x": np.arange(60) / 7})
    rows.to_csv(tmp_path / "a.csv", index=False)
    data = vaekit.read(tmp_path / "a.csv")
    model = vaekit.VAE(latent_dim=2, size="small", epochs=1).fit_data(data)
    for where in ("day>=03.02.2021", "day>=2021-02-03"):
        assert min(to_frame(model.sample(20, where=where)).table()["day"].to_pylist()) >= datetime.date(2021, 2, 3)
    with pytest.raises(UserError, match="no row can have day>=2021-03-02"):
        model.sample(20, where="day>=02.03.2021")
