"""A trained model as graphs: onnxruntime computes what PyTorch does, and what is known in closed form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import vaekit
from conftest import LinearGaussian, mistake, people
from conftest import vaekit as command
from vaekit.conditions import Conditions
from vaekit.deploy.export import export, exported
from vaekit.deploy.graphs import Complete, Draw, Encoder, Prior, Scored, example, graphs
from vaekit.deploy.trace import TOLERANCE, differences
from vaekit.fitted import Fitted
from vaekit.kinds.rows import Rows
from vaekit.robots.onnx_policy import open_session
from vaekit.uses.scores import LogLikelihood, new_score

RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=(40, 4)).astype(np.float32)
PICTURES = RNG.integers(0, 256, (40, 8, 8), dtype=np.uint8)
LABELS = np.arange(40) % 3
FEW = np.where(np.arange(40) < 20, LABELS, None)


def trained(build: Any = vaekit.VAE, X: Any = NUMBERS, *y: Any, **options: Any) -> Fitted:
    sizes = {} if "structure" in options else {"latent_dim": 2, "size": "small"}
    return build(**{"epochs": 1, "sampler": "prior", **sizes, **options}).fit(X, *y).fitted_


KINDS = {
    "pictures": lambda: trained(vaekit.CVAE, PICTURES, LABELS),
    "rows": lambda: trained(),
    "table": lambda: trained(X=people(60, 0).to_pandas()),
    "text": lambda: trained(X=["a b", "b c d", "c a", "d d a"] * 8, kind={"name": "text", "tokenizer": {"name": "word", "longest": 6}}),
    "series": lambda: vaekit.SeriesVAE(latent_dim=2, size="small", epochs=1, window=8).fit(RNG.normal(size=(60, 2))).fitted_,
    "audio": lambda: trained(X=RNG.uniform(-1, 1, (16, 600)).astype(np.float32), kind="audio"),
}  # fmt: skip
OWN = {  # graphs that have something of this kind in them; the runtime's tests export the others
    "text": ("encoder", "decoder"),
    "series": ("draw", "score", "complete"),
    "audio": ("encoder", "decoder"),
}
MODELS = {
    **{f"posterior {p}": lambda p=p: trained(posterior=p) for p in ("log_variance", "full", "iaf", "maf")},
    **{f"prior {p}": lambda p=p: trained(prior=p) for p in ("mixture", "vamp", "flow")},
    **{f"prior {p} of y": lambda p=p: trained(vaekit.CVAE, NUMBERS, NUMBERS[:, :2], prior=p) for p in ("conditional", "mixture", "flow")},
    **{f"likelihood {n}": lambda n=n: trained(X=PICTURES, likelihood=n) for n in ("continuous_bernoulli", "laplace", "logistic")},
    **{f"likelihood {n}": lambda n=n: trained(X=PICTURES // 128, likelihood=n) for n in ("bernoulli", "categorical")},
    "ladder": lambda: trained(X=PICTURES, structure="ladder"),
    "vq": lambda: trained(X=PICTURES, structure={"name": "vq", "side": 2}),
    "few labels": lambda: trained(vaekit.SemiSupervisedVAE, PICTURES, FEW),
    "few numbers": lambda: trained(vaekit.SemiSupervisedRegressor, NUMBERS, np.where(np.arange(40) < 20, NUMBERS[:, 0], np.nan)),
}  # fmt: skip
QUICK = ("posterior full", "ladder")


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_data_has_its_graphs(name: str) -> None:
    fitted = KINDS[name]()
    found = graphs(fitted, score=LogLikelihood(k=3))
    assert set(found) >= {"encoder", "prior", "decoder", "score"}
    assert ("draw" in found) != fitted.kind.mean_samples
    assert ("complete" in found) == fitted.kind.fills
    for each in OWN.get(name, ()):
        exported(found[each], fitted)  # compares with PyTorch, for other numbers of rows than it was traced with


@pytest.mark.parametrize(
    "build", [pytest.param(b, id=n, marks=[] if n in QUICK else pytest.mark.slow) for n, b in MODELS.items()]
)
def test_every_structure_has_its_graphs(build: Any) -> None:
    fitted = build()
    for graph in graphs(fitted, score=LogLikelihood(k=3)).values():
        exported(graph, fitted)


@pytest.mark.parametrize("name", ["exemplars", "reconstruction", "kl", "path", "path of vq"])
def test_scores_are_those_of_the_estimator(name: str) -> None:
    name, _, structure = name.partition(" of ")
    X = PICTURES if name == "path" else NUMBERS
    fitted = trained(X=X, **({"structure": {"name": structure, "side": 2}} if structure else {}))
    score = new_score(name, fitted)
    score.fit(fitted, X)
    content, _ = exported(Scored(fitted, score), fitted)
    (chunk,) = fitted.chunks(fitted.pack(X))
    there = {"x": chunk.x.numpy(), "mask": np.ones(chunk.x.shape, bool)}
    (found,) = open_session(content).run(None, there)
    # A statistic that hardly varies magnifies the rounding of rows beside others.
    assert differences({"": found}, {"": score(fitted, X)})[""] < (1e-4 if structure else TOLERANCE)


# -- truth: a model whose posterior, marginal and conditionals are known ------------------------------------------------


def linear(widen: float = 1.0) -> tuple[LinearGaussian, Fitted]:
    truth = LinearGaussian(columns=4, latent_dim=2)
    kind = Rows(None, [0.0] * 4, [1.0] * 4)
    model = truth.model(widen).float().eval()
    return truth, Fitted("VAE", {}, kind, Conditions({}), {"name": "normal"}, model, 0, {})


def test_the_score_of_a_model_whose_posterior_is_exact_is_log_p() -> None:
    truth, fitted = linear()
    content, about = exported(Scored(fitted, LogLikelihood(k=3)), fitted)
    x = truth.rows(50)
    noise = RNG.standard_normal((50, about["inputs"]["noise"]["shape"][1]), dtype=np.float32)
    given = {"x": x.float().numpy(), "mask": np.ones(x.shape, bool), "noise": noise}
    (found,) = open_session(content).run(None, given)
    np.testing.assert_allclose(found, truth.log_px(x), rtol=1e-4)


def test_draws_have_the_mean_and_the_covariance_of_the_model() -> None:
    truth, fitted = linear()
    n = 40_000
    prior, draw = (open_session(exported(graph, fitted)[0]) for graph in (Prior(fitted), Draw(fitted)))
    one = np.asarray(1.0, np.float32)
    (z,) = prior.run(None, {"noise": RNG.standard_normal((n, 2), dtype=np.float32), "temperature": one})
    (x,) = draw.run(None, {"z": z, "noise": RNG.standard_normal((n, 4), dtype=np.float32)})
    covariance = (truth.W @ truth.W.T).numpy() + truth.sigma**2 * np.eye(4)
    np.testing.assert_allclose(np.cov(x.T), covariance, atol=0.1)
    np.testing.assert_allclose(x.mean(0), truth.b, atol=0.05)


def test_filled_gaps_are_what_is_missing_given_what_is_there() -> None:
    truth, fitted = linear(widen=2.0)
    content, about = exported(Complete(fitted), fitted)
    seen, n, k = np.array([True, False, True, False]), 30, 200
    x = truth.rows(1).float().numpy().repeat(n, 0)
    shapes = {name: about["inputs"][name]["shape"][-1] for name in ("noise", "draws")}
    given = {"x": np.where(seen, x, 0), "mask": np.tile(seen, (n, 1)), "noise": RNG.standard_normal((n, shapes["noise"]), dtype=np.float32)}  # fmt: skip
    given["draws"] = RNG.standard_normal((n, k, shapes["draws"]), dtype=np.float32)
    (filled,) = open_session(content).run(None, given)
    assert (filled[..., seen] == x[0, seen]).all()
    covariance = (truth.W @ truth.W.T).numpy() + truth.sigma**2 * np.eye(4)
    gain = covariance[~seen][:, seen] @ np.linalg.inv(covariance[seen][:, seen])
    mean = truth.b.numpy()[~seen] + gain @ (x[0, seen] - truth.b.numpy()[seen])
    spread = covariance[~seen][:, ~seen] - gain @ covariance[seen][:, ~seen]
    drawn = filled[..., ~seen].reshape(-1, 2)
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.15)
    np.testing.assert_allclose(np.cov(drawn.T), spread, atol=0.2)


def test_the_shares_of_a_table_s_cells_are_those_of_its_draws() -> None:
    """The bars beside a decoded row are its distribution: compared with many draws from it."""
    frame = pd.DataFrame({"n": RNG.gamma(2, size=300), "c": RNG.choice(list("abc"), 300, p=[0.5, 0.3, 0.2]), "zero": np.where(RNG.random(300) < 0.4, 0.0, RNG.normal(size=300))})  # fmt: skip
    fitted = trained(X=frame)
    edges = torch.linspace(-4, 4, 41)
    p = fitted.model.decode(torch.zeros(1, 2))
    shares = p.shares(edges)[0, :3]
    torch.testing.assert_close(shares.sum(-1), torch.ones(3))
    drawn = p.sample(20_000)[:, 0, :3]
    order = [i for i, name in enumerate(fitted.kind.columns) if name != "c"]
    for column in order:
        found = torch.histogram(drawn[:, column].clamp(-3.999, 3.999), edges).hist / len(drawn)
        torch.testing.assert_close(shares[column, :40], found, atol=0.015, rtol=0)
    column = fitted.kind.columns.index("c")
    found = torch.bincount(drawn[:, column].long(), minlength=4)[1:] / len(drawn)
    torch.testing.assert_close(shares[column, :3], found, atol=0.015, rtol=0)


# -- what goes wrong ---------------------------------------------------------------------------------------------------


class Fickle(torch.nn.Module):
    """A network that no graph can hold: what it does depends on the data."""

    def __init__(self, in_shape: Any, out_shape: Any, features: int):
        super().__init__()
        self.layer = torch.nn.Linear(in_shape[0], out_shape[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


def test_what_cannot_be_traced_is_said_and_the_rest_is_written(tmp_path: Path) -> None:
    vae = vaekit.VAE(latent_dim=2, epochs=1, encoder=Fickle, sampler="prior").fit(NUMBERS)
    notes = export(vae, tmp_path / "out", k=3)
    assert [n for n in notes if n.startswith("encoder is left out: ONNX cannot express it")] == notes[:1]
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert about["notes"] == notes
    assert "decoder" in about["graphs"]
    assert "encoder" not in about["graphs"]
    assert all("\n" not in note for note in notes)


def test_an_export_takes_the_place_of_an_earlier_one_and_of_nothing_else(tmp_path: Path) -> None:
    vae = vaekit.VAE(latent_dim=2, epochs=1, size="small", sampler="prior").fit(NUMBERS)
    folder = tmp_path / "out"
    export(vae, folder, k=3)
    assert (folder / "complete.onnx").exists()
    export(vaekit.VAE(latent_dim=2, epochs=1, kind="audio", size="small", sampler="prior").fit(NUMBERS.reshape(2, 80)), folder, k=2)  # fmt: skip
    about = json.loads((folder / "model.json").read_text())
    assert {p.name for p in folder.iterdir()} == {*about["files"], "model.json"}
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    assert "holds other files" in mistake(export, vae, tmp_path / "other")
    assert "is a file" in mistake(export, vae, folder / "model.json")


def test_a_row_of_an_example_is_one_of_the_model(tmp_path: Path) -> None:
    fitted = trained(vaekit.CVAE, PICTURES, LABELS)
    rows = example(fitted, 5)
    assert rows["x"].shape == (5, 1, 8, 8)
    assert rows["y.0" if "y.0" in rows else next(n for n in rows if n.startswith("y."))].dtype == torch.int32


def test_a_run_is_exported_from_the_command_line(tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    command("fit", "digits", "--out", run, "--epochs", 1, "--size", "small", "--network", "mlp", check=0)
    said = command("export", run, "-o", out, check=0)
    assert "vaekit.runtime.load" in said.stdout + said.stderr
    model = vaekit.runtime.load(out)
    estimator = vaekit.load(run)
    rows = estimator.sample(6, random_state=0)
    np.testing.assert_allclose(model.encode(rows), estimator.transform(rows), rtol=1e-4, atol=1e-5)
    assert (model.p_values(rows) > 0).all()
    np.testing.assert_array_equal(model.decode(np.zeros((2, 16))), estimator.inverse_transform(np.zeros((2, 16))))


def test_a_condition_may_have_any_name() -> None:
    name = "we\"ird, 'x' {0}\\ :("
    cvae = vaekit.CVAE(latent_dim=2, epochs=1, size="small", sampler="prior").fit(NUMBERS, {name: LABELS})
    content, about = exported(Encoder(cvae.fitted_), cvae.fitted_)
    (chunk,) = cvae.fitted_.chunks(cvae.packed(NUMBERS, {name: LABELS}))
    given = {"x": chunk.x.numpy(), "mask": np.ones(chunk.x.shape, bool), f"y.{name}": LABELS.astype(np.int32)}
    assert set(about["inputs"]) == set(given)
    (z,) = open_session(content).run(None, given)
    np.testing.assert_allclose(z, cvae.transform(NUMBERS, {name: LABELS}), rtol=1e-4, atol=1e-6)


def test_rows_of_unknown_labels_are_scored_with_what_is_predicted() -> None:
    """Of the same rows a score is the same whether the likeliest label is given or left unknown."""
    fitted = trained(vaekit.SemiSupervisedVAE, PICTURES, FEW)
    score = new_score("path", fitted)
    score.fit(fitted, PICTURES)
    likely = fitted.model.judge(next(fitted.chunks(fitted.pack(PICTURES))).x).argmax(1)
    ((name, condition),) = fitted.conditions.named.items()
    given = {name: np.asarray(condition.classes, object)[likely.numpy()]}
    np.testing.assert_allclose(score(fitted, PICTURES), score(fitted, PICTURES, given), rtol=1e-6)
