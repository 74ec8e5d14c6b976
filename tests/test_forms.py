"""Forms: what a kind describes is what it does, in NumPy alone."""

import datetime
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from test_columns import TYPES
from vaekit.conditions import Conditions
from vaekit.errors import UserError
from vaekit.forms import open_form
from vaekit.forms.cells import NO_TIME
from vaekit.forms.conditions import Known, Label, Number, Picture, Seen
from vaekit.forms.named import column
from vaekit.frame import Frame, to_frame
from vaekit.frame.arrow import canonical
from vaekit.kinds.audio import Audio
from vaekit.kinds.base import Kind
from vaekit.kinds.pictures import Images
from vaekit.kinds.rows import Rows
from vaekit.kinds.series import Series
from vaekit.kinds.table import Table
from vaekit.kinds.text import Text
from vaekit.robots.actions import Actions

RNG = np.random.default_rng(0)


def opened(kind):
    """The form of a kind, by way of strict JSON."""
    return open_form(json.loads(json.dumps(kind.form(), allow_nan=False)))


def same_packed(kind, rows, given=None, dtype=torch.float32, atol=1e-6):
    """The form packs rows as the kind does; returns x."""
    x, mask = kind.pack(kind.take(rows), dtype)
    x = kind.batch(x, dtype=dtype).numpy()
    found, there = opened(kind).pack(rows if given is None else given)
    mask = np.ones(x.shape, bool) if mask is None else mask.numpy()
    there = np.ones(x.shape, bool) if there is None else there
    np.testing.assert_array_equal(there[mask.shape[:1]] if there.shape[:1] == () else there, mask)
    np.testing.assert_allclose(found[mask], x[mask], rtol=1e-6, atol=atol)
    assert found.dtype == np.float32
    return torch.from_numpy(found)


PICTURES = {
    "grey": RNG.integers(0, 256, (5, 4, 6)).astype(np.uint8),
    "one channel": RNG.integers(0, 256, (5, 4, 6, 1)).astype(np.uint8),
    "colour": RNG.integers(0, 256, (5, 4, 6, 3)).astype(np.uint8),
    "opacity": RNG.integers(0, 256, (5, 4, 6, 4)).astype(np.uint8),
    "channels first": RNG.random((5, 3, 8, 8)).astype(np.float32),
    "floats": RNG.random((5, 4, 6)) * 7 - 3,
    "words": RNG.integers(0, 60_000, (5, 4, 6)).astype(np.uint16),
    "seventeen": RNG.integers(0, 17, (5, 4, 6)).astype(np.uint8),
    "gaps": np.where(RNG.random((5, 4, 6)) < 0.2, np.nan, RNG.random((5, 4, 6))),
    "bool": RNG.random((5, 4, 6)) < 0.5,
}


@pytest.mark.parametrize("binarize", [None, "threshold"])
@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name, binarize):
    rows = Images.check(PICTURES[name])
    kind = Images.infer(rows, binarize=binarize)
    x = same_packed(kind, rows)
    for shown in (x, x * 1.5 - 0.2):
        found, wanted = opened(kind).unpack(shown.numpy()), kind.unpack(shown)
        np.testing.assert_array_equal(found, wanted)
        assert found.dtype == wanted.dtype


def test_pictures_of_other_channels_become_like_those_of_training():
    kind = Images.infer(PICTURES["colour"])
    same_packed(kind, PICTURES["grey"])
    with pytest.raises(UserError, match=r"one picture is given as X\[None\]"):
        opened(kind).pack(PICTURES["colour"][0])
    with pytest.raises(UserError, match="do not fit"):
        opened(kind).pack(np.zeros((2, 9, 9, 3)))
    with pytest.raises(UserError, match="real numbers"):
        opened(kind).pack(np.array(["a"]))


def test_pictures_that_are_drawn_when_they_are_seen_are_cut_at_one_half():
    drawn, cut = (Images.infer(PICTURES["grey"], binarize=how) for how in ("dynamic", "threshold"))
    assert drawn.form() == cut.form()


def test_gaps_of_pictures_are_filled():
    kind, x = Images.infer(PICTURES["gaps"]), torch.rand(5, 1, 4, 6)
    np.testing.assert_array_equal(opened(kind).fill(PICTURES["gaps"], x.numpy()), kind.fill(PICTURES["gaps"], x))


@settings(max_examples=50)
@given(st.data())
def test_rows(data):
    cell = st.floats(-1e6, 1e6) | st.just(float("nan"))
    rows = np.array(data.draw(st.lists(st.tuples(cell, cell, cell), min_size=2, max_size=8)))
    if np.isnan(rows).all():
        return
    kind = Rows.infer(rows, columns=["a", "b", "c"])
    x = same_packed(kind, rows)
    np.testing.assert_array_equal(opened(kind).unpack(x.numpy()), kind.unpack(x))
    np.testing.assert_array_equal(opened(kind).fill(rows, x.numpy()), kind.fill(rows, x))
    named = {name: rows[:, i].tolist() for i, name in enumerate("abc")}
    same_packed(kind, rows, {**named, "more": [0] * len(rows)})
    same_packed(kind, rows, pd.DataFrame(named))
    same_packed(kind, rows, [{name: values[i] for name, values in named.items()} for i in range(len(rows))])


def test_rows_that_do_not_fit():
    form = opened(Rows.infer(RNG.normal(size=(9, 2)), columns=["wide", "high"]))
    for wrong, said in (
        (np.zeros((3, 3)), "3"), ({"wide": [1.0], "hihg": [2.0]}, "has no column 'high'.*did you mean 'hihg'"), (np.array([[1, np.inf]]), "column 1 is inf"),
        ([[1, "x"]], "numbers"), ({"wide": [1.0], "high": [1.0, 2.0]}, "number of rows"), ({"wide": 3.0, "high": [1.0]}, "a value for each row"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            form.pack(wrong)


@pytest.mark.parametrize("rounded", [False, True])
def test_series(rounded):
    steps = RNG.gamma(2.0, size=(30, 3)) * [1, 10, 100]
    steps = np.rint(steps) if rounded else steps
    steps[4, 1] = np.nan
    kind = Series.infer([steps], window=8)
    x = same_packed(kind, [steps], steps)
    np.testing.assert_array_equal(opened(kind).unpack(x.numpy() - 1), kind.unpack(x - 1))
    windows = np.lib.stride_tricks.sliding_window_view(steps, 8, axis=0).swapaxes(1, 2)
    same_packed(kind, [steps], windows)
    same_packed(kind, [steps[:5]], steps[:5])
    rebuilt = opened(kind).rebuilt(steps, kind.unpack(x))
    np.testing.assert_allclose(rebuilt[~np.isnan(steps)], steps[~np.isnan(steps)], rtol=1e-6)
    with pytest.raises(UserError, match="give windows"):
        opened(kind).pack(np.zeros((4, 7)))


def test_actions():
    actions = RNG.normal(size=(20, 4))
    kind = Actions.infer(actions, 6, 30)
    x, _ = kind.pack(actions, np.array([20]))
    chunks = np.lib.stride_tricks.sliding_window_view(actions, 6, axis=0).swapaxes(1, 2)
    np.testing.assert_allclose(opened(kind).pack(chunks)[0], x[: len(chunks)], atol=1e-6)
    np.testing.assert_allclose(opened(kind).unpack(x.numpy()), kind.unpack(x), rtol=1e-12)


# -- tables ----------------------------------------------------------------------------------------------------------------


def plain(column):
    """A column as a list: times as whole numbers of their unit, gaps as None."""
    if isinstance(column, pa.ChunkedArray | pa.Array):
        return canonical("", column).to_pylist()
    if column.dtype.kind == "i":
        return [None if v == NO_TIME else v for v in column.tolist()]
    if column.dtype.kind in "mM":
        return [None if np.isnat(v) else int(v.astype(np.int64)) for v in column]
    return [None if v is None or v != v else v for v in column.tolist()]


def same_table(kind, table, given=None):
    """The form of a table packs, unpacks and fills as the kind does."""
    x = same_packed(kind, table, {name: table[name] for name in table.column_names} if given is None else given)
    drawn = torch.where(torch.rand(x.shape) < 0.5, x, x + torch.randn(x.shape))
    for j, (name, c) in enumerate(kind.seen.items()):
        drawn[:, j] = torch.where(torch.tensor(hasattr(c, "classes")), x[:, j].clamp(1), drawn[:, j])
        assert name in kind.schema
    drawn[:, len(kind.schema) :] = torch.randint(1, 3, drawn[:, len(kind.schema) :].shape)
    found, wanted = opened(kind).unpack(drawn.numpy()), kind.unpack(drawn)
    assert list(found) == wanted.column_names
    for name in found:
        alike(plain(found[name]), plain(wanted[name]))
    filled, wanted = opened(kind).fill(table_of(table), drawn.numpy()), kind.fill(kind.take(table), drawn)
    for c in opened(kind).columns:
        alike(plain(c.read(column(c.name, filled[c.name]))), plain(wanted[c.name]))
    return found


def alike(found, wanted):
    """Whether two lists of plain cells are the same. Arrow turns decimals into floats in its own way."""
    if {float} == {type(v) for v in wanted} - {type(None)}:
        np.testing.assert_allclose(np.array(found, float), np.array(wanted, float), rtol=1e-12)
    else:
        assert found == wanted


def table_of(table):
    return {name: table[name] for name in table.column_names}


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", TYPES)
def test_columns_of_every_type(name, gaps):
    values = TYPES[name]
    if gaps and name != "string_view":  # of which Arrow cannot take
        values = values.take(pa.array(np.arange(len(values)), mask=RNG.random(len(values)) < 0.2))
    table = pa.table({"c": values, "other": RNG.normal(size=len(values))})
    found = same_table(Table.infer(Frame.of(table)), table)
    time = pa.types.is_temporal(values.type)
    assert found["c"].dtype.kind in ("mM" if time else "iufbO")


PHASES = [p for p in Phase if p.name != "shrink"]  # which would take minutes
CELLS = {
    "real": st.floats(-1e5, 1e5),
    "integer": st.integers(-1000, 1000),
    "binary": st.booleans(),
    "categorical": st.sampled_from(["a", "b", "c", "<script>"]),
    "ordinal": st.sampled_from([1, 2, 5]),
    "date": st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2100, 1, 1)),
}


@settings(max_examples=40, phases=PHASES)
@given(st.data())
def test_tables(data):
    n = data.draw(st.integers(12, 30))
    columns = {
        name: data.draw(st.lists(st.none() | cell, min_size=n, max_size=n, unique=name == "date"))
        for name, cell in CELLS.items()
    }  # fmt: skip
    table = pa.table(columns)
    if any(len(set(values) - {None}) < 2 for values in columns.values()):
        return
    kind = Table.infer(Frame.of(table), schema={name: name for name in ("real", "integer", "categorical", "ordinal")})
    found = same_table(kind, table, columns)
    json.dumps([plain(values) for values in found.values()])


def test_a_table_in_every_form_that_people_have():
    frame = pd.DataFrame(
        {"size": [1.5, np.nan, 3.25, 4.5] * 30, "word": ["a", None, "b", ""] * 30, "day": pd.date_range("2020-01-01", periods=120), "yes": [True, False] * 60}
    )  # fmt: skip
    kind = Table.infer(to_frame(frame), schema={"day": "date"})
    listed = {
        "size": [1.5, "", "3.25", 4.5] * 30, "word": ["a", float("nan"), "b", ""] * 30,
        "day": [str(d.date()) for d in frame["day"]], "yes": [1, 0] * 60,
    }  # fmt: skip
    for given_ in (
        frame,
        listed,
        frame.to_dict("records"),
        {name: frame[name].to_numpy() for name in frame},
        pa.Table.from_pandas(frame),
    ):
        same_packed(kind, frame, given_)
    filled = opened(kind).fill({**listed, "id": range(120)}, kind.pack(to_frame(frame))[0].numpy())
    assert filled["size"].dtype == np.float64
    assert filled["word"].tolist()[:1] == ["a"]
    assert filled["id"].tolist() == list(range(120))


def test_tables_that_do_not_fit():
    kind = Table.infer(Frame.of(pa.table({"size": RNG.normal(size=50), "when": TYPES["timestamp s None"][:50], "yes": RNG.random(50) < 0.5, "n": [1, 2] * 25})))  # fmt: skip
    row = {"size": [1.0], "when": ["2019-01-01T07:30"], "yes": [True], "n": [1]}
    form = opened(kind)
    form.pack(row)
    for wrong, said in (
        ({"size": ["small"]}, "held numbers.*'small'"), ({"size": [np.inf]}, "infinity at row 0"), ({"when": ["soon"]}, "'soon', which is no time"),
        ({"when": ["2019-01-01T07:30:00.5"]}, "cannot hold"), ({"yes": ["maybe"]}, "held one of.*'maybe'"), ({"n": ["two"]}, "'two'"),
        ({"when": [3]}, "no time"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=said):
            form.pack({**row, **wrong})
    for wrong, said in (({"size": [1.0]}, "no column 'when'"), (3, "named columns"), ([], "named columns")):
        with pytest.raises(UserError, match=said):
            form.pack(wrong)


def ruled(n=300, gaps=0.0):
    start = RNG.integers(0, 1000, n)
    price, count = np.round(RNG.gamma(3.0, size=n), 2), RNG.integers(1, 60, n)
    columns = {
        "start": pa.array(start, pa.int64()).cast(pa.timestamp("s")), "end": pa.array(start + RNG.integers(0, 500, n)).cast(pa.timestamp("s")),
        "price": price, "count": count, "total": np.round(price * count, 2),
    }  # fmt: skip
    table = pa.table(columns)
    if gaps:
        holes = [pa.array(np.arange(n), mask=RNG.random(n) < gaps) for _ in columns]
        table = pa.table({name: table[name].take(hole) for name, hole in zip(columns, holes, strict=True)})
    return table


@pytest.mark.parametrize("gaps", [0.0, 0.2])
def test_constraints_hold(gaps):
    table = ruled(gaps=gaps)
    rules = ["start <= end", "total == price * count"]
    kind = Table.infer(Frame.of(table), schema={"count": "integer"}, constraints=rules)
    found = same_table(kind, table)
    known = ~(np.isnat(found["start"]) | np.isnat(found["end"]))
    assert (found["start"] <= found["end"])[known].all()


def test_the_best_guess_of_a_table_is_the_mean_and_the_commonest_class():
    table = ruled(gaps=0.1).append_column("word", pa.array(["a", "b", "c"] * 100))
    kind = Table.infer(Frame.of(table), schema={"count": "integer"}, constraints=["start <= end"])
    x, mask = kind.pack(Frame.of(table))
    draws = torch.stack([torch.where(torch.rand(x.shape) < 0.5, x, x[torch.randperm(len(x))]) for _ in range(7)])
    draws[:, ~mask] = 1.0
    np.testing.assert_allclose(opened(kind).center(draws.numpy()), kind.center(draws), rtol=1e-5, atol=1e-6)


# -- texts and sound ---------------------------------------------------------------------------------------------------------

TEXTS = ["a cat sat on the mat", "the dog  ate it all, twice", "Ünïcode 🐈 and\nlines", "a"] * 5


@pytest.mark.parametrize("level", ["bpe", "word", "char", "own"])
def test_texts(level, tmp_path):
    tokenizer = level
    if level == "own":
        Text.infer(TEXTS).tokenizer.save(str(tmp_path / "tokenizer.json"))
        tokenizer = str(tmp_path / "tokenizer.json")
    kind = Text.infer(TEXTS, tokenizer={"name": tokenizer, "longest": 16})
    new = [*TEXTS, "zebras and quaggas", "", "a " * 40]
    x, mask = kind.pack(new)
    found, there = opened(kind).pack(new)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found[:, : x.shape[1]], x)
    np.testing.assert_array_equal(there[:, : x.shape[1]], mask)
    assert not found[:, x.shape[1] :].any()
    assert not there[:, x.shape[1] :].any()
    assert opened(kind).unpack(found).tolist() == kind.unpack(x).tolist()
    form = kind.form()
    assert len(form["tokens"]) == form["vocabulary"] - 1
    with pytest.raises(UserError, match="give a list of texts"):
        opened(kind).pack("one text")


def test_clips():
    time = np.arange(2000) / 8000
    clips = np.stack([0.5 * np.sin(2 * np.pi * f * time) + 0.1 * RNG.normal(size=len(time)) for f in (220, 440, 1000)])
    kind = Audio.infer(clips.astype(np.float32), rate=8000)
    x = same_packed(kind, clips, dtype=torch.float64, atol=2e-5)
    found = opened(kind).unpack(x.numpy())
    assert found.shape == clips.shape
    again, usual = (opened(kind).pack(sound)[0] for sound in (found, kind.unpack(x)))
    off, allowed = (np.sqrt(np.square(seen - x.numpy()).mean()) for seen in (again, usual))
    assert off < 1.1 * allowed
    with pytest.raises(UserError, match="not a number"):
        opened(kind).pack([np.full(2000, np.nan)])


# -- others ------------------------------------------------------------------------------------------------------------------


def test_a_kind_without_a_form_has_rows_in_model_units():
    class Own(Kind):
        noun = "molecules"
        event_shape = (3,)

    form = Own().form()
    assert form["note"].startswith("molecules go in and come out in model units")
    x, mask = open_form(form).pack([[1, 2, np.nan]])
    np.testing.assert_array_equal(x, [[1, 2, 0]])
    np.testing.assert_array_equal(mask, [[True, True, False]])
    with pytest.raises(UserError, match="do not fit"):
        open_form(form).pack(np.zeros((2, 4)))
    with pytest.raises(UserError, match="no gaps"):
        open_form(form).fill(x, x)


def test_a_form_that_is_not_known():
    with pytest.raises(UserError, match=r"is unknown.*upgrade"):
        open_form({"type": "molecules"})
    with pytest.raises(UserError, match="is damaged"):
        open_form({"type": "columns"})
    with pytest.raises(UserError, match="is damaged"):
        open_form({"type": "columns", "event": [1], "columns": [{"kind": "class"}]})


def conditions():
    y = {
        "digit": np.array([1, 2, 3, 1, 2, 2] * 4), "age": RNG.normal(40, 9, 24), "place": RNG.normal(size=(24, 2)),
    }  # fmt: skip
    learned = Conditions.infer(y, {"digit": "label"})
    learned.learn(y, learned.pack(y, 24))
    return y, learned


def test_conditions():
    y, learned = conditions()
    config = json.loads(json.dumps(learned.to_config()))
    kinds = {"label": Label, "number": Number, "picture": Picture}
    known = Known(
        {name: kinds[c.pop("kind")](**c) for name, c in config.items()}, Seen(learned.seen.values, learned.seen.counts)
    )
    for name, values in learned.pack(y, 24).items():
        np.testing.assert_array_equal(known.codes(y, 24)[name], values.numpy())
    unknown = {"digit": [None, 2, 3, 1], "age": [50.0, np.nan, 20, 30]}
    assert known.codes({"digit": None}, 2)["digit"].tolist() == [-1, -1]
    drawn = known.fill(unknown, 4, np.random.default_rng(0))
    assert drawn["digit"].tolist()[1:] == [2, 3, 1]
    assert not np.isnan(drawn["age"]).any()
    with pytest.raises(UserError, match="no class 7"):
        known.codes({"digit": 7}, 1)
    with pytest.raises(UserError, match="did you mean 'digit'"):
        known.codes({"digits": 1}, 1)
    with pytest.raises(UserError, match="3 values for 4 rows"):
        known.codes({"digit": [1, 2, 3]}, 4)


def test_conditions_are_picked_as_a_model_weighs_them():
    _, learned = conditions()
    given_ = {"digit": [2] * 3, "age": [np.nan, 30, 60], "place": [[0, np.nan], [0, 0], [np.nan, np.nan]]}
    p = learned.population.log_p(learned.population.complete(learned.pack(given_, 3), 3)).exp().numpy()
    many = {name: np.repeat(np.array(v, float), 4000, axis=0) for name, v in given_.items()}
    picked = learned.pick(many, 12_000, np.random.default_rng(0)).reshape(3, 4000)
    share = np.stack([np.bincount(row, minlength=p.shape[1]) / 4000 for row in picked])
    np.testing.assert_allclose(share, p, atol=4 * np.sqrt(0.25 / 4000))


JUNK = (
    None, 3, 2.5, "text", b"bytes", [], {}, [[]], [None], ["a"], [["a", "b"]], [np.nan], np.zeros(3), np.zeros((2, 2), complex), np.array([["a"]]),
    np.zeros((0, 4, 6)), np.zeros((1, 1, 1, 1, 1)), {"a": 1}, {"a": [1, [2]]}, [{"a": 1}, 3], [{}], pd.DataFrame({"x": [1]}), object(), iter([1]), np.array(3),
    [np.zeros(2), np.zeros(3)], {1: [2]}, [np.full(2000, np.inf)], range(3), {"c": [object()], "other": ["1"]}, {"c": ["2019"], "other": [1e300]},
)  # fmt: skip


@pytest.mark.parametrize("kind", ["pictures", "rows", "series", "table", "times", "texts", "clips", "none"])
def test_junk_is_refused_in_a_line(kind):
    made = {
        "pictures": lambda: Images.infer(PICTURES["grey"]),
        "rows": lambda: Rows.infer(np.eye(3), columns=["a", "b", "c"]),
        "series": lambda: Series.infer([RNG.normal(size=(30, 3))], window=8),
        "table": lambda: Table.infer(Frame.of(pa.table({"c": TYPES["string"], "other": RNG.normal(size=400)}))),
        "times": lambda: Table.infer(Frame.of(pa.table({"c": TYPES["date32"], "other": RNG.normal(size=400)}))),
        "texts": lambda: Text.infer(TEXTS),
        "clips": lambda: Audio.infer(RNG.normal(size=(3, 2000)).astype(np.float32), rate=8000),
        "none": lambda: type("Own", (Kind,), {"event_shape": (3,)})(),
    }
    form, refused = opened(made[kind]()), 0
    for junk in JUNK:
        try:
            form.pack(junk)
        except UserError:
            refused += 1
    assert refused > len(JUNK) / 2
