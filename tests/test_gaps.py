"""Whether gaps are filled better than by what is usual: on tables of which that is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import vaekit
from vaekit.errors import Note
from vaekit.frame import Frame
from vaekit.kinds.table import Table
from vaekit.kinds.table.gaps import filled_gaps, gap_lines

N = 300
RNG = np.random.default_rng(0)
X = RNG.normal(size=N)
ROWS = pa.table(
    {
        "x": X,
        "twice": 2 * X + RNG.normal(0, 0.01, N),
        "sign": np.where(X > 0, "up", "down"),
        "noise": RNG.normal(size=N),
    }
)


class Guess(Table):
    """A kind that fills each column in a way of its own, and is all that there is of a fitted model."""

    def __init__(self, fill: Any):
        super().__init__(**vars(Table.infer(Frame.of(ROWS))))
        self.kind, self.fill_cell = self, fill

    def impute(self, fitted: Any, table: Any, y: Any = None, **how: Any) -> list[Any]:
        columns = {name: table[name].to_pylist() for name in table.column_names}
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        filled = {n: [self.fill_cell(n, row) if row[n] is None else row[n] for row in rows] for n in columns}
        return [pa.table(filled)]


def by_rule(name: str, row: dict[str, Any]) -> Any:
    """What can be known of a row, and 3 of the noise."""
    if name == "twice":
        return 0.0 if row["x"] is None else 2 * row["x"]
    if name == "x":
        return 0.0 if row["twice"] is None else row["twice"] / 2
    if name == "sign":
        return "up" if (row["x"] or row["twice"] or 0) > 0 else "down"
    return 3.0


def test_guesses_are_compared_with_the_mean_and_the_commonest_class() -> None:
    with pytest.warns(Note, match="fills gaps of noise worse than the mean"):
        found = filled_gaps(Guess(by_rule), ROWS, {})
    assert all(40 < each["cells"] < 80 for each in found.values())
    for name in ("x", "twice", "sign"):  # a fifth of the rows lack what they follow from
        assert found[name]["error"] < 0.6 * found[name]["usual"]
        assert not found[name]["worse"]
    assert found["noise"]["error"] == pytest.approx(np.sqrt(10), rel=0.15)
    assert found["noise"]["usual"] == pytest.approx(1, abs=0.2)
    assert found["sign"]["usual"] == pytest.approx(0.5, abs=0.2)
    assert "3 of 4 columns are filled better" in gap_lines({"gaps": found})[0]
    assert gap_lines({"gaps": found})[0].endswith("worse: noise")


def test_the_usual_itself_is_not_worse(recwarn: pytest.WarningsRecorder) -> None:
    found = filled_gaps(Guess(lambda name, row: "up" if name == "sign" else 0.0), ROWS, {})
    assert not any(each["worse"] for each in found.values())
    assert not [w for w in recwarn if "gaps" in str(w.message)]
    assert filled_gaps(Guess(by_rule), ROWS.slice(0, 5), {}) == {}


def test_an_evaluation_says_it() -> None:
    model = vaekit.CVAE(latent_dim=2, size="small", epochs=2).fit(
        ROWS.drop_columns("noise"), {"noise": ROWS["noise"].to_numpy()}
    )
    results = model.evaluate(ROWS.drop_columns("noise"), {"noise": ROWS["noise"].to_numpy()}, k=5)
    assert set(results["gaps"]) == {"x", "twice", "sign"}
