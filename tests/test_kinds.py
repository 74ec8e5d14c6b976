"""The contract that every kind of data keeps, and what happens to one that does not."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import vaekit
import vaekit.uses.generate
from vaekit.errors import Note, UserError
from vaekit.kinds import kinds
from vaekit.training.data import fixed_uniform

RANDOM = np.random.default_rng(0)
ROWS: dict[str, Any] = {
    "text": ["a b", "b c d", "c a", "d d a"] * 4,
    "table": pd.DataFrame({"n": RANDOM.normal(size=16), "c": list("abcd") * 4}),
    "images": RANDOM.integers(0, 256, (16, 8, 8)).astype(np.uint8),
    "rows": RANDOM.normal(size=(16, 3)),
    "series": RANDOM.normal(size=(60, 2)),
    "audio": RANDOM.uniform(-1, 1, (16, 600)).astype(np.float32),
}


@pytest.fixture(scope="module", params=ROWS)
def model(request: Any) -> Any:
    build = vaekit.SeriesVAE(window=8) if request.param == "series" else vaekit.VAE(kind=request.param)
    return build.set_params(latent_dim=2, size="small", epochs=1, sampler="prior").fit(ROWS[request.param])


@pytest.mark.parametrize("name", kinds())
def test_a_kind_says_all_that_has_no_default(name: str) -> None:
    kind = kinds()[name]
    assert kind.name == name
    assert kind.missing() == []


def test_rows_become_tensors_of_the_shape_that_the_kind_says(model: Any) -> None:
    kind, rows = model.kind_, model.kind_.take(ROWS[model.kind_.name])
    x, mask = kind.pack(rows)
    seen = kind.batch(x, fixed_uniform())
    if kind.name == "text":  # a text is as long as the longest of these
        assert seen.shape[1] <= kind.event_shape[0]
    else:
        assert seen.shape[1:] == kind.event_shape
    assert mask is None or mask.shape == x.shape
    assert kind.unit.shape == kind.event_shape[:1]


def test_a_config_gives_the_kind_back(model: Any, tmp_path: Path) -> None:
    again = vaekit.load(model.save(tmp_path / "run"))
    assert asdict(again.kind_) == asdict(model.kind_)
    assert again.notes_ == model.notes_
    np.testing.assert_array_equal(again.transform(ROWS[model.kind_.name]), model.transform(ROWS[model.kind_.name]))


def test_every_use_gives_rows_of_the_kind(model: Any, tmp_path: Path) -> None:
    rows, kind = ROWS[model.kind_.name], model.kind_
    for given in (model.sample(3, random_state=1), model.fitted_.decode(np.zeros((3, 2)))):
        assert len(given) == 3
    assert len(model.reconstruct(rows)) == len(rows)
    assert len(model.score_samples(rows, k=2)) == len(rows)
    assert np.isfinite(model.evaluate(rows, k=2)["elbo"])
    path = tmp_path / f"rows{kind.endings[0]}"
    kind.write(path, vaekit.uses.generate.sample(model.fitted_, 2, seed=0))
    assert path.stat().st_size > 0
    assert kind.preview(
        kind.unpack(torch.zeros(2, *kind.event_shape)) if kind.name != "text" else np.array(["a", "b"]), "two"
    )
    assert kind.describe() is not None
    assert kind.extent


def test_a_kind_of_a_package_that_fails_to_import_is_named_and_the_others_work(
    tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "broken.py").write_text("import nowhere_to_be_found")
    about = tmp_path / "stranger-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[vaekit.kinds]\nclouds = broken:Clouds\nwinds = half:Winds\nnumber = half:x\n"
    )
    (tmp_path / "half.py").write_text(
        "from vaekit.kinds import Kind\nx = 3\nclass Winds(Kind):\n    name = 'winds'\n    infer = unit = event_shape = conform = pack = x\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    kinds.cache_clear()
    try:
        with pytest.warns(
            Note, match=r"'clouds' is left out: broken:Clouds cannot be used \(ModuleNotFoundError"
        ) as notes:
            assert set(kinds()) >= set(ROWS)
        assert "half:Winds cannot be used (TypeError: it lacks default_likelihood, unpack, networks)" in str(
            notes[1].message
        )
        assert "'number' is left out: half:x cannot be used" in str(notes[2].message)
        assert not {"winds", "number"} & set(kinds())
        with pytest.raises(UserError, match="kind='clouds' is not one of the choices"):
            vaekit.VAE(kind="clouds").fit(ROWS["rows"])
    finally:
        kinds.cache_clear()
