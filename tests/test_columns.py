"""Columns of tables: from any type to what a model sees, and back."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from scipy.stats import kstest

from vaekit.errors import UserError
from vaekit.forms.numbers import piecewise
from vaekit.frame import Frame
from vaekit.kinds.table import Table, describe
from vaekit.kinds.table.columns import Continuous, Discrete, column, decimals, normal_scores

N = 400
RNG = np.random.default_rng(0)
WHOLE = RNG.integers(0, 120, N)
DAYS = [datetime.date(2019, 1, 1) + datetime.timedelta(days=int(d)) for d in 3 * WHOLE]
TIMES = [datetime.datetime(2019, 1, 1, 7, 30) + datetime.timedelta(minutes=int(m)) for m in 97 * WHOLE]
SECONDS = [datetime.timedelta(seconds=int(s)) for s in 11 * WHOLE]
HOURS = [datetime.time(int(h) // 10, int(h) % 10) for h in WHOLE]
WORDS = [["lo", "mid", "hi"][i % 3] for i in WHOLE]

TYPES: dict[str, Any] = {
    **{str(t): pa.array(WHOLE, t) for t in (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())},
    **{str(t): pa.array(WHOLE / 4, pa.float64()).cast(t) for t in (pa.float16(), pa.float32(), pa.float64())},
    "decimal": pa.array([Decimal(int(i)) / 4 for i in WHOLE], pa.decimal128(8, 2)),
    "wide decimal": pa.array([Decimal(int(i)) / 4 for i in WHOLE], pa.decimal256(40, 2)),
    "bool": pa.array(WHOLE % 3 == 0),
    "string": pa.array(WORDS, pa.string()),
    "large_string": pa.array(WORDS, pa.large_string()),
    "string_view": pa.array(WORDS, pa.string_view()),
    "dictionary": pa.array(WORDS).dictionary_encode(),
    "ordered": pa.DictionaryArray.from_arrays(pa.array(WHOLE % 3, pa.int8()), ["lo", "mid", "hi", "never"], ordered=True),
    "numbers as categories": pa.array(WHOLE, pa.int32()).dictionary_encode(),
    "date32": pa.array(DAYS, pa.date32()),
    "date64": pa.array(DAYS, pa.date64()),
    **{f"timestamp {u} {z}": pa.array(TIMES, pa.timestamp(u)).cast(pa.timestamp(u, z)) for u in ("s", "ms", "us", "ns") for z in (None, "Europe/Berlin", "+02:00")},
    **{f"duration {u}": pa.array(SECONDS, pa.duration(u)) for u in ("s", "ms", "us", "ns")},
    **{str(t): pa.array(HOURS, t) for t in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"))},
}  # fmt: skip


def learned(values: Any, **said: Any) -> Table:
    return Table.infer(Frame.of(pa.table({"c": values})), schema={"c": said} if said else None)


def there_and_back(values: Any, domain: Table | None = None) -> Any:
    domain = domain or learned(values)
    return domain.unpack(domain.pack(Frame.of(pa.table({"c": values})), torch.float64)[0])["c"]


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", TYPES)
def test_every_type_comes_back_as_it_was(name: str, gaps: bool) -> None:
    values = TYPES[name]
    if gaps:
        own = Frame.of(pa.table({"c": values})).table()["c"]
        values = own.take(pa.array([None if i % 7 == 0 else i for i in range(N)]))
    given = Frame.of(pa.table({"c": values})).table()["c"]  # views of text are what Arrow can do little with
    back = there_and_back(values)
    assert back.type == given.type
    if pa.types.is_dictionary(given.type):
        assert set(back.chunk(0).dictionary.to_pylist()) == set(given.chunk(0).dictionary.to_pylist())
    assert back.to_pylist() == given.to_pylist()


def test_draws_have_the_range_and_the_rounding_of_the_column() -> None:
    """Whatever a model says, normal scores far outside of what was seen included."""
    u = np.random.default_rng(1).normal(0, 3, 2000)
    table = pa.table(
        {"whole": WHOLE, "price": pa.array(WHOLE / 4), "day": DAYS, "time": TIMES, "size": RNG.lognormal(0, 1, N)}
    )
    for name, c in Table.infer(Frame.of(table)).schema.items():
        values = Table({name: c}, N).unpack(torch.from_numpy(u[:, None]))[name]
        known = table[name].to_pylist()
        assert min(known) <= min(values.to_pylist())
        assert max(values.to_pylist()) <= max(known)
        if name == "price":
            np.testing.assert_allclose(np.round(values.to_numpy(), 2), values.to_numpy(), rtol=0, atol=0)
        if name == "time":  # the first plus whole minutes
            assert all(v.second == v.microsecond == 0 for v in values.to_pylist())


@pytest.mark.parametrize(
    "draw",
    [
        lambda r: r.normal(size=5000),
        lambda r: r.lognormal(0, 2, 5000),
        lambda r: r.standard_t(1.5, 5000),
        lambda r: r.uniform(size=5000),
        lambda r: np.concatenate([r.normal(-9, 0.1, 2500), r.normal(9, 1, 2500)]),
        lambda r: 1e-200 * r.normal(size=5000),
        lambda r: 1e200 * r.normal(size=5000),
        lambda r: 1e9 + r.normal(size=5000),
    ],
)
def test_numbers_of_any_shape_become_standard_normal(draw: Any) -> None:
    values = draw(np.random.default_rng(2))
    c = learned(values).schema["c"]
    assert isinstance(c, Continuous)
    assert c.step == 0
    assert kstest(c.pack("c", pa.array(values)), "norm").statistic < 0.02
    np.testing.assert_allclose(c.unpack(c.pack("c", pa.array(values))).to_numpy(), values, rtol=1e-9)


def test_one_outlier_does_not_blunt_the_rest() -> None:
    values = np.append(np.random.default_rng(3).normal(size=999), 1e300)
    c = learned(values).schema["c"]
    assert isinstance(c, Continuous)
    back = c.unpack(ndtri(np.linspace(0.01, 0.99, 99))).to_numpy()
    assert kstest(values, back).statistic < 0.1
    assert np.abs(back).max() < 4


def test_rounded_numbers_are_spread_over_what_is_rounded_to_them() -> None:
    values = np.rint(np.random.default_rng(4).normal(0, 20, 20_000))
    c = learned(values).schema["c"]
    assert isinstance(c, Continuous)
    assert c.step == 1
    scores = c.pack("c", pa.array(values), np.random.default_rng(5))
    assert kstest(scores, "norm").pvalue > 1e-3
    np.testing.assert_array_equal(c.unpack(scores).to_numpy(), values)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e12, 1e12).map(lambda v: round(v, 200)), min_size=2, max_size=60, unique=True))
def test_the_map_to_normal_scores_rises_and_is_undone_by_its_inverse(values: list[float]) -> None:
    knots, scores = normal_scores(np.array(values), 0.0, min(values), max(values))
    assert (np.diff(knots) > 0).all()
    assert (np.diff(scores) > 0).all()
    inside = np.linspace(knots[0], knots[-1], 50)
    np.testing.assert_allclose(
        piecewise(piecewise(inside, knots, scores), scores, knots),
        inside,
        rtol=1e-6,
        atol=1e-9 * (knots[-1] - knots[0]),
    )


@settings(max_examples=100, deadline=None)
@given(st.integers(-4, 0), st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=50, unique=True))
def test_the_step_is_found(power: int, whole: list[int]) -> None:
    values = np.array(whole) * 10.0**power
    step = decimals(values)
    assert step >= 10.0**power * 0.999
    np.testing.assert_allclose(np.rint(values / step) * step, values, rtol=1e-9)


def test_small_numbers_are_not_rounded_to_nothing() -> None:
    assert decimals(np.array([1e-20, 3e-20, 0.0])) == 0
    assert decimals(np.array([1e15 + 0.375, 1e15])) == 0


def test_no_zero_has_a_sign() -> None:
    c = learned(np.round(np.random.default_rng(6).normal(0, 0.1, 500), 1)).schema["c"]
    values = c.unpack(np.linspace(-3, 3, 500)).to_numpy()
    assert not np.signbit(values[values == 0]).any()


def test_values_that_many_rows_have_are_their_own() -> None:
    rng = np.random.default_rng(6)
    values = np.where(rng.random(5000) < 0.4, 0.0, rng.lognormal(3, 1, 5000))
    c = learned(values).schema["c"]
    assert isinstance(c, Continuous)
    assert c.spikes == [0.0]
    assert c.shares == pytest.approx([(values == 0).mean()], abs=1e-5)
    back = c.unpack(c.pack("c", pa.array(values))).to_numpy()
    np.testing.assert_array_equal(back == 0, values == 0)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2] * 50, "binary"),
        (["a", "b"] * 50, "binary"),
        ([True, False] * 50, "binary"),
        (["a", "b", "c"] * 50, "categorical"),
        ([1, 2, 3] * 50, "ordinal"),
        ([7 * i for i in range(100)], "integer"),
        (np.random.default_rng(0).random(100) + 1, "positive"),
        (np.random.default_rng(0).normal(size=100), "real"),
        (np.linspace(0, 1, 101), "bounded"),
        (DAYS, "date"),
        (["k"] * 100, "categorical"),
        ([None] * 100, "categorical"),
        ([1.5] * 100, "categorical"),
        ([f"id{i}" for i in range(100)] * 2, "categorical"),
    ],
)
def test_kinds_are_guessed(values: Any, kind: str) -> None:
    assert learned(pa.array(values)).schema["c"].kind == kind


def test_what_the_user_says_wins() -> None:
    c = learned(pa.array(WHOLE), kind="bounded", low=-10, high=500, step=5).schema["c"]
    assert (c.kind, c.low, c.high, c.step) == ("bounded", -10, 500, 5)
    assert set(np.array(c.unpack(np.linspace(-5, 5, 99)).to_pylist()) % 5) == {0}
    c = learned(pa.array(["lo", "hi"] * 9), kind="ordinal", classes=["lo", "mid", "hi"]).schema["c"]
    assert c.classes == ["lo", "mid", "hi"]
    assert sum(c.shares) == pytest.approx(1, abs=1e-5)
    # Of whole numbers that are to be taken as real, none is cut off to the next below.
    domain = learned(pa.array(WHOLE), kind="real")
    u = np.random.default_rng(7).normal(size=4000)
    assert kstest(WHOLE, domain.unpack(torch.from_numpy(u[:, None]))["c"].to_numpy()).statistic < 0.07


def test_categories_keep_their_order_and_those_that_no_row_has() -> None:
    ordered = TYPES["ordered"]
    c = learned(ordered).schema["c"]
    assert isinstance(c, Discrete)
    assert (c.kind, c.classes, c.labels) == ("ordinal", ["lo", "mid", "hi"], ["lo", "mid", "hi", "never"])
    back = there_and_back(ordered)
    assert back.type.ordered
    assert back.chunk(0).dictionary.to_pylist() == ["lo", "mid", "hi", "never"]


def test_times_are_exact_where_floats_are_not() -> None:
    """The last microsecond of the year 9999, which databases write for "never", beside milliseconds of this century."""
    last = datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999)
    times = [last if i % 10 == 0 else TIMES[i] + datetime.timedelta(milliseconds=i) for i in range(N)]
    assert there_and_back(pa.array(times, pa.timestamp("us"))).to_pylist() == times
    nanoseconds = pa.array([1_577_836_800_123_000_000 + 1_000_000 * 7919 * i for i in range(N)], pa.timestamp("ns"))
    assert there_and_back(nanoseconds).chunk(0).equals(nanoseconds)
    assert learned(nanoseconds).schema["c"].step == 1e6


def test_a_schema_is_plain_values() -> None:
    import yaml

    for name, values in TYPES.items():
        c = learned(values).schema["c"]
        plain = yaml.safe_load(yaml.safe_dump(vars(c)))
        assert column(**plain) == c, name


def test_a_class_never_seen_has_a_code_of_its_own() -> None:
    c = learned(pa.array(["a", "b", "c"] * 20)).schema["c"]
    with pytest.warns(UserWarning, match="such as .zebra."):
        np.testing.assert_array_equal(c.pack("c", pa.array(["b", "zebra", None])), [2, 4, np.nan])


@pytest.mark.parametrize(
    ("trained", "now"),
    [
        (TYPES["date32"], TYPES["int32"]),
        (TYPES["int64"], TYPES["date32"]),
        (TYPES["timestamp us None"], TYPES["timestamp us Europe/Berlin"]),
        (TYPES["duration s"], TYPES["time32[s]"]),
        (TYPES["date32"], TYPES["string"]),
        (TYPES["date32"], TYPES["timestamp us None"]),  # half past seven is not a day
        (TYPES["int64"], TYPES["string"]),
        (TYPES["bool"], TYPES["int64"]),
        (pa.array([1, 2, 3] * 20), pa.array([1.5])),
        (pa.array([1, 2, 3] * 20), pa.array(["one"])),
    ],
    ids=str,
)  # fmt: skip
def test_another_type_than_that_of_training_is_told(trained: Any, now: Any) -> None:
    with pytest.raises(UserError, match=r"column 'c' was .* when the model was trained, and is now"):
        there_and_back(now, learned(trained))


@pytest.mark.parametrize(
    ("trained", "now"),
    [
        ("timestamp ns None", "timestamp s None"),
        ("timestamp s Europe/Berlin", "timestamp us +02:00"),
        ("date64", "date32"),
        ("date32", "date64"),
        ("duration ns", "duration s"),
        ("time64[ns]", "time32[s]"),
        ("int64", "int8"),
        ("double", "decimal"),
        ("string", "ordered"),
        ("ordered", "large_string"),
    ],
)
def test_another_type_of_the_same_values_is_the_same(trained: str, now: str) -> None:
    """A file that was written anew has times in other units: they are the same times."""
    domain = learned(TYPES[trained])
    own, other = (domain.pack(Frame.of(pa.table({"c": TYPES[name]})))[0] for name in (trained, now))
    np.testing.assert_array_equal(own, other)


@pytest.mark.parametrize(
    ("values", "said", "message"),
    [
        (pa.array([1.0, np.inf, 2.0]), {}, "'c' holds an infinity at row 1"),
        (pa.array([2**60, 1]), {"kind": "integer"}, "whole numbers beyond 2.53"),
        (pa.array([2**64 - 1, 1], pa.uint64()), {}, "no column is left .*whole numbers beyond 2.53"),
        (pa.array(np.linspace(-1, 1, 50) * 1.7e308), {}, "too far for 64-bit numbers"),
        (pa.array([[1], [2]]), {}, "'c' holds lists: leave it out"),
        (pa.array([b"a", b"b"]), {}, "'c' holds bytes"),
        (pa.array([f"{i}" for i in range(10_001)] * 2), {"kind": "categorical"}, "more than 10,000 different values.*drop"),
        (pa.array([1.0, 1.0]), {"kind": "real"}, "at most one value"),
        (pa.array(["a", "b"]), {"kind": "real"}, "cannot be real: choose categorical"),
        (pa.array(DAYS), {"kind": "integer"}, "cannot be integer: choose date"),
        (pa.array(WHOLE), {"kind": "date"}, "cannot be date: choose real"),
        (pa.array(WHOLE), {"kind": "reel"}, "not a kind of column; did you mean 'real'"),
        (pa.array(WHOLE), {"kind": "real", "lo": 1}, "has no 'lo'"),
        (pa.array(["a", "b"]), {"kind": "ordinal", "classes": ["a"]}, "holds 'b', which is not one of its classes"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_said_in_a_line(values: Any, said: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as told:
        learned(values, **said)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (pa.array(TIMES), "2019-01-01 07:30:00 to 2019-01-09 07:53:00, in steps of a minute"),
        (pa.array(DAYS), "2019-01-01 to 2019-12-24, in steps of a day"),
        (pa.array(SECONDS), "in steps of a second"),
        (pa.array(20210301 + WHOLE), "20210301 to 20210420, in steps of 1"),
        (pa.array(1000.5 * WHOLE), "0 to 119059.5, in steps of 0.1"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_columns_are_described_as_people_write_numbers_and_spans(values: Any, said: str) -> None:
    assert said in describe(learned(values).schema["c"])
