"""Series: time read into equal steps, windows, scores of steps, gaps filled, VUS-PR, and mistakes told in time."""

import datetime as dt
import itertools
import json
import zipfile
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.metrics import average_precision_score
from torch import nn

import vaekit as vk
from conftest import LinearGaussian, mistake, real, vaekit
from vaekit.conditions import Conditions
from vaekit.distributions import AutoregressiveNormal, normal_noise
from vaekit.errors import Note, kept_notes
from vaekit.estimators.series import held_out_windows
from vaekit.evaluation.vus import vus_pr
from vaekit.fitted import Fitted
from vaekit.kinds.series import Series
from vaekit.kinds.series.fill import calibrated_spread
from vaekit.sources.series import read_series, to_series
from vaekit.uses.steps import over_steps, stretches

TINY = dict(window=16, size="small", latent_dim=2, epochs=1, sampler="prior")


def waves(steps=600, seed=0, noise=0.05) -> np.ndarray:
    """Two channels, a sine and three times its cosine, of a period of 24 steps."""
    angle = 2 * np.pi * np.arange(steps) / 24
    clean = np.stack([np.sin(angle), 3 * np.cos(angle)], axis=1)
    return clean + noise * np.random.default_rng(seed).normal(size=clean.shape)


@pytest.fixture(scope="module")
def trained():
    return vk.SeriesVAE(window=48, latent_dim=4, epochs=60, sampler="prior").fit(waves(1500))


# -- time --------------------------------------------------------------------------------------------------------------


def clocked(n=40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    when = pd.date_range("2024-03-01", periods=n, freq="5min")
    return pd.DataFrame({"when": when, "a": rng.normal(size=n), "b": rng.normal(size=n)})


@settings(max_examples=20)
@given(st.permutations(range(30)), st.sets(st.integers(1, 28), max_size=8))
def test_rows_come_to_their_own_steps_in_whatever_order(order, absent):
    table = clocked(30)
    kept = table.drop(index=list(absent))
    shuffled = kept.iloc[np.argsort([order[i] for i in kept.index])]
    read = to_series(shuffled)
    wanted = np.array(table[["a", "b"]])
    wanted[list(absent)] = np.nan
    np.testing.assert_array_equal(read.values[0], wanted)
    np.testing.assert_array_equal(read.times, table["when"].to_numpy("M8[us]"))
    np.testing.assert_array_equal(read.values[0][read.steps], shuffled[["a", "b"]].to_numpy())


def test_every_form_of_a_table_is_the_same_series(tmp_path):
    table = clocked()
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_parquet(tmp_path / "a.parquet")
    seconds = table.assign(when=table["when"].astype("M8[s]").astype("int64")).rename(columns={"when": "Timestamp"})
    berlin = table.assign(when=table["when"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"))
    texts = table.assign(when=[f"{t.isoformat()}+02:00" for t in table["when"]])
    forms = {
        "pandas": table, "index": table.set_index("when"), "polars": pl.from_pandas(table), "arrow": pa.table(table),
        "csv": tmp_path / "a.csv", "parquet": tmp_path / "a.parquet", "seconds": seconds, "zone": berlin, "texts": texts,
        "reversed": table[::-1],
    }  # fmt: skip
    for name, form in forms.items():
        read = read_series(form)
        np.testing.assert_array_equal(read.values[0], table[["a", "b"]].to_numpy(), err_msg=name)
        assert read.columns == ["a", "b"]
        if name == "texts":
            np.testing.assert_array_equal(read.times, (table["when"] - dt.timedelta(hours=2)).to_numpy("M8[us]"))
        elif name != "seconds":
            np.testing.assert_array_equal(read.times, table["when"].to_numpy("M8[us]"), err_msg=name)


def test_what_was_done_to_the_time_is_told():
    table = clocked()
    twice = pd.concat([table, table.iloc[[7]].assign(a=5.0, b=np.nan)])
    read = to_series(twice)
    assert read.values[0][7, 0] == (table["a"][7] + 5) / 2
    assert read.values[0][7, 1] == table["b"][7]  # what is missing has no part in the mean
    assert any("repeat a time: 1" in note for note in read.notes)
    table.loc[5:, "when"] += pd.Timedelta("2min")
    late = to_series(table.drop(index=[20]))
    assert len(late) == 40
    assert any("have no row: 1" in note for note in late.notes)
    assert any("not a whole number of steps of 300 s" in note and "1 of 39" in note for note in late.notes)
    assert "no column of time" in to_series(table[["a", "b"]]).notes[0]


def test_a_series_of_the_year_9999_is_read():
    when = [dt.datetime(9999, 1, 1) + dt.timedelta(hours=h) for h in range(20)]
    read = to_series(pa.table({"time": when, "x": np.arange(20.0)}))
    assert str(read.times[-1]) == "9999-01-01T19:00:00.000000"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("time,x\n2024-01-01,1\n2024-01-02,2\n9999-01-01,3\n", "9999"),
        ("time,x\n2024-01-01,1\n2024-01-02,off\n", "'off' at row 1"),
        ("time,x\n2024-01-01,1\n,2\n", "row 1"),
        ("time,x\nsoon,1\nlater,2\n", "2024-01-31 12:00:00"),
        ("time,x\n2024-01-01 10:00,1\n2024-01-01 11:00Z,2\n", "with a zone"),
        ("time,date,x\n2024-01-01,2024-01-01,1\n2024-01-02,2024-01-02,2\n", "time, date"),
        ("time\n2024-01-01\n2024-01-02\n", "no column of numbers"),
        ("time,x\n2024-01-01,1\n2024-01-02,inf\n", "infinity at row 1"),
        ("time,x\n", "no rows"),
    ],
)
def test_tables_that_are_no_series(tmp_path, text, told):
    (tmp_path / "a.csv").write_text(text)
    assert told in mistake(read_series, tmp_path / "a.csv")


def test_files_and_arrays_that_are_no_series(tmp_path):
    assert "not a file" in mistake(read_series, tmp_path / "none.csv")
    np.save(tmp_path / "a.npy", np.zeros((2, 2, 2, 2)))
    assert "shape" in mistake(read_series, tmp_path / "a.npy")
    (tmp_path / "a.txt").write_text("1")
    assert "is not a kind of file" in mistake(read_series, tmp_path / "a.txt")
    assert "numbers" in mistake(to_series, ["a", "b"])
    assert "infinity" in mistake(to_series, [1.0, np.inf])
    assert "channels" in mistake(to_series, [np.zeros((9, 1)), np.zeros((9, 2))])


# -- windows -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(2, 20))
def test_no_window_leaves_its_series(lengths, window):
    starts = np.cumsum([0, *lengths])
    series = [np.stack([np.arange(a, b), -np.arange(a, b)], 1).astype(float) for a, b in itertools.pairwise(starts)]
    domain = Series(window, [0.0, 0.0], [1.0, 1.0])
    x, mask = domain.pack(series)
    found = domain.unpack(x)
    ends = stretches(series, window)
    assert len(x) == ends[-1]
    for i, values in enumerate(series):
        for j in range(int(ends[i - 1]) if i else 0, int(ends[i])):
            start = j - (int(ends[i - 1]) if i else 0)
            there = values[start : start + window]
            np.testing.assert_array_equal(found[j, : len(there)], there)
            assert mask is None or mask[j].all(0).sum() == len(there)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=4), st.integers(2, 30), st.floats(0, 0.5), st.integers(0, 9))
def test_windows_held_out_share_no_step_with_those_of_training(lengths, window, share, seed):
    ends = stretches([np.zeros((n, 1)) for n in lengths], window)
    train, valid = held_out_windows(ends, window, share, seed)
    series = np.searchsorted(ends, np.arange(ends[-1]), side="right")
    first = np.arange(ends[-1]) + series * window  # a step of its own for each window, whatever its series

    def steps(windows):
        return {(int(series[w]), int(first[w]) + i) for w in windows.tolist() for i in range(window)}

    assert not steps(train) & steps(valid)
    assert len(train) >= ends[-1] / 2
    assert len(set(series[valid.numpy()])) <= 1
    if len(valid):
        assert len(valid) == min(round(share * ends[-1]), np.diff(ends, prepend=0).max())


def test_windows_of_one_series_cost_no_memory():
    domain = Series(100, [0.0], [1.0])
    x, _ = domain.pack([np.arange(10_000.0)[:, None]])
    assert x.untyped_storage().nbytes() <= 10_000 * x.element_size()


def test_the_mean_over_the_windows_that_hold_a_step():
    values = np.array([1.0, 2.0, np.nan, 4.0])
    np.testing.assert_allclose(over_steps(values, 3), [1, 1.5, 1.5, 3, 4, 4])
    assert np.isnan(over_steps(np.array([np.nan, 1.0]), 2)[0])


# -- errors with a memory -----------------------------------------------------------------------------------------------


def remembering(steps=7):
    g = torch.Generator().manual_seed(0)
    loc = torch.randn(3, 2, steps, generator=g, dtype=torch.float64)
    scale, memory, log_unit = (
        torch.tensor(v, dtype=torch.float64)[:, None] for v in ([0.5, 2.0], [0.8, 0.3], [0.1, 0.0])
    )
    return AutoregressiveNormal(loc, scale, memory, log_unit), torch.randn(
        3, 2, steps, generator=g, dtype=torch.float64
    )


def covariance_of(p, c) -> np.ndarray:
    steps = np.arange(p.loc.shape[-1])
    return p.scale[c].item() ** 2 * p.memory[c].item() ** np.abs(steps[:, None] - steps)


@pytest.mark.parametrize("observed", [1.0, 0.5, 0.1])
def test_log_probabilities_are_those_of_the_joint_normal(observed):
    p, x = remembering()
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < observed
    wanted = np.zeros(3)
    for b, c in itertools.product(range(3), range(2)):
        seen = mask[b, c].numpy()
        if seen.any():
            joint = multivariate_normal(p.loc[b, c].numpy()[seen], covariance_of(p, c)[np.ix_(seen, seen)])
            wanted[b] += joint.logpdf(x[b, c].numpy()[seen]) - seen.sum() * p.log_unit[c].item()
    x[~mask] = torch.nan  # whatever stands there
    np.testing.assert_allclose(p.log_prob(x.nan_to_num(7.0), mask), wanted, rtol=1e-10)
    if observed == 1:
        np.testing.assert_allclose(p.log_prob(x), wanted, rtol=1e-10)


def test_draws_of_gaps_are_those_of_the_conditional_normal():
    p, x = remembering()
    n = 20_000
    p = AutoregressiveNormal(p.loc[:1].expand(n, -1, -1), p.scale, p.memory)
    seen, whole = torch.ones(2, 7, dtype=torch.bool), torch.ones(n, 2, 7, dtype=torch.bool)
    seen[0, 2:4] = seen[1, 6] = False
    x = x[:1].expand(n, -1, -1)
    both = torch.cat([x, x + 1]), torch.cat([seen.expand(n, -1, -1), whole])  # the other half lacks nothing
    both_p = replace(p, loc=torch.cat([p.loc, p.loc]))
    drawn = both_p.sample_given(*both, normal_noise(torch.Generator().manual_seed(0)))
    assert (drawn == both[0])[both[1]].all()
    drawn = drawn[:n]
    for c in range(2):
        o, m = seen[c].numpy(), ~seen[c].numpy()
        k = covariance_of(p, c)
        weights = k[np.ix_(m, o)] @ np.linalg.inv(k[np.ix_(o, o)])
        mean = p.loc[0, c].numpy()[m] + weights @ (x[0, c] - p.loc[0, c]).numpy()[o]
        found = drawn[:, c].numpy()[:, m]
        np.testing.assert_allclose(found.mean(0), mean, atol=0.05 * p.scale[c].item())
        np.testing.assert_allclose(np.cov(found.T), k[np.ix_(m, m)] - weights @ k[np.ix_(o, m)], atol=0.08)


def test_the_memory_of_errors_is_learned():
    rng = np.random.default_rng(0)
    x = np.zeros((4000, 2))
    for t in range(1, 4000):
        x[t] = [0.9, 0.0] * x[t - 1] + rng.normal(size=2)
    options = dict(window=16, latent_dim=1, epochs=15, sampler="prior")
    vae = vk.SeriesVAE(**options).fit(x)
    memory = vae.model_.likelihood.memory.detach().ravel()
    assert memory[0] > 0.3 > 0.15 > memory[1]
    truth = -0.5 * np.log(2 * np.pi * np.e) * 2  # nats a step of both channels, by the noise that drives them
    score = vae.score_samples(x, by="last").mean()
    assert truth - 0.3 < score < truth + 0.05
    independent = vk.SeriesVAE(**options, likelihood="normal").fit(x)
    assert independent.score_samples(x, by="last").mean() < score - 0.2


# -- scores ------------------------------------------------------------------------------------------------------------


def exact(window=6, widen=1.0) -> tuple[vk.SeriesVAE, LinearGaussian]:
    """An estimator whose model is a linear Gaussian one of windows of one channel, with its exact posterior."""
    linear = LinearGaussian(columns=window)
    model = linear.model(widen)
    model.encoder = nn.Sequential(nn.Flatten(), model.encoder)
    model.decoder = nn.Sequential(model.decoder, nn.Unflatten(1, (1, window)))
    likelihood = model.likelihood
    model.likelihood = type(likelihood)((1, window), scale=linear.sigma).double()
    vae = vk.SeriesVAE(window=window)
    kind = Series(window, [0.0], [1.0])
    vae.fitted_ = Fitted("SeriesVAE", {}, kind, Conditions({}), {"name": "normal"}, model, 0, {})
    return vae, linear


def test_scores_are_densities_of_windows_known_exactly():
    vae, linear = exact()
    x = np.random.default_rng(0).normal(size=20)
    windows = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(x, 6).copy())
    wanted = over_steps(linear.log_px(windows).numpy() / 6, 6)
    np.testing.assert_allclose(vae.score_samples(x, k=4), wanted, rtol=1e-6)
    assert vae.score(x) == pytest.approx(wanted.mean())


def test_the_last_step_given_those_before_it():
    vae, linear = exact(
        widen=2.0
    )  # wide enough for the posterior where a step is missing, or importance sampling fails
    x = np.random.default_rng(0).normal(size=12)
    covariance = (linear.W @ linear.W.T).numpy() + linear.sigma**2 * np.eye(6)
    mean = linear.b.numpy()
    wanted = []
    for t in range(5, len(x)):
        window = x[t - 5 : t + 1]
        before = multivariate_normal(mean[:5], covariance[:5, :5]).logpdf(window[:5])
        wanted.append(multivariate_normal(mean, covariance).logpdf(window) - before)
    scores = vae.score_samples(x, k=20_000, by="last")
    np.testing.assert_allclose(scores[5:], wanted, atol=0.02)
    assert np.isfinite(scores[:5]).all()  # of windows whose first steps are missing


@pytest.mark.parametrize("by", ["past", "last"])
def test_a_monitor_looks_at_no_later_step(trained, by):
    x = waves(200)
    changed = x.copy()
    changed[150:] = 7.0
    a, b = (trained.score_samples(v, by=by, k=8) for v in (x, changed))
    np.testing.assert_array_equal(a[:150], b[:150])
    assert (a[150:] > b[150:]).all()
    assert np.isfinite(a[47:]).all()


def test_the_window_that_ends_with_a_step():
    vae, linear = exact()
    x = np.random.default_rng(0).normal(size=12)
    windows = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(x, 6).copy())
    np.testing.assert_allclose(vae.score_samples(x, k=4, by="past")[5:], linear.log_px(windows) / 6, rtol=1e-6)
    assert np.isnan(vae.score_samples(x, by="past")[:5]).all()  # no window is full yet


@pytest.mark.parametrize("by", ["window", "past", "last"])
def test_a_fault_is_where_the_scores_are_low(trained, by):
    x = waves(400, seed=5)
    x[200, 0] += 1.0
    scores = trained.score_samples(x, by=by)
    assert scores.shape == (400,)
    assert abs(np.nanargmin(scores) - 200) < 48
    if by == "last":
        assert scores.argmin() == 200
    assert scores[200] < scores[60:120].min()


def test_scores_of_a_series_do_not_depend_on_its_company(trained):
    a, b = waves(150, seed=3), waves(30, seed=4)  # the second is shorter than a window
    together = trained.score_samples([a, b])
    for alone, beside in zip((a, b), together, strict=True):
        np.testing.assert_allclose(trained.score_samples(alone), beside, rtol=1e-6)
    stack = np.stack([a[:100], a[50:]])
    np.testing.assert_allclose(np.stack(trained.score_samples(stack))[1], trained.score_samples(a[50:]), rtol=1e-6)


def test_each_row_of_a_table_has_its_score(trained):
    x = waves(200)
    table = pd.DataFrame({"time": pd.date_range("2024", periods=200, freq="h"), "a": x[:, 0], "b": x[:, 1]}).drop(
        index=[50, 51]
    )
    vae = vk.SeriesVAE(**TINY).fit(table)
    scores = vae.score_samples(table)
    assert scores.shape == (198,)
    assert np.isfinite(scores).all()
    gap = x.copy()
    gap[50:52] = np.nan
    steps = vae.score_samples(gap)
    assert np.isnan(steps[50:52]).all()
    np.testing.assert_allclose(np.delete(steps, [50, 51]), scores, rtol=1e-12)
    np.testing.assert_allclose(vae.score_samples(table[::-1]), scores[::-1], rtol=1e-12)


# -- what else a model of windows is used for -----------------------------------------------------------------------------


def test_gaps_are_filled_as_the_rest_says(trained):
    x, truth = waves(300, seed=7), waves(300, noise=0)
    gap = x.copy()
    gap[100:130, 0] = np.nan  # one channel, longer than half a window
    gap[200:210] = np.nan  # both
    filled = trained.impute(gap)
    seen = ~np.isnan(gap)
    np.testing.assert_array_equal(filled[seen], gap[seen])
    line = np.column_stack(
        [np.interp(np.arange(300), np.flatnonzero(seen[:, c]), gap[seen[:, c], c]) for c in range(2)]
    )

    def error(values):
        return np.sqrt(np.mean((values - truth)[~seen] ** 2))

    assert error(filled) < 0.3 * error(line)
    draws = trained.impute(gap, draws=3, random_state=1)
    assert len(draws) == 3
    assert (np.std(draws, axis=0)[~seen] > 0).all()
    assert (np.ptp(draws, axis=0)[seen] == 0).all()
    np.testing.assert_array_equal(draws[0], trained.impute(gap, draws=3, random_state=1)[0])


def test_reconstructions_and_samples_have_the_form_of_the_data(trained):
    x = waves(120)
    back = trained.reconstruct(x)
    assert back.shape == x.shape
    assert np.mean((back - x) ** 2) < 0.1 * x.var()
    assert [r.shape for r in trained.reconstruct([x, x[:10]])] == [(120, 2), (10, 2)]
    new = trained.sample(50)
    assert new.shape == (50, 48, 2)
    assert abs(new[..., 1].std() - x[:, 1].std()) < 0.5
    assert trained.transform(new).shape == (50, 4)  # several series of one window each
    assert trained.score_samples(new)[0].shape == (48,)
    single = vk.SeriesVAE(**TINY).fit(x[:, 0])
    assert single.reconstruct(x[:, 0]).shape == (120,)
    assert single.impute(np.where(np.arange(120) == 7, np.nan, x[:, 0])).shape == (120,)


def test_a_run_is_read_back_whole(trained, tmp_path):
    loaded = vk.load(trained.save(tmp_path / "run"))
    x = waves(100, seed=9)
    np.testing.assert_array_equal(loaded.score_samples(x), trained.score_samples(x))
    np.testing.assert_array_equal(loaded.sample(3, random_state=1), trained.sample(3, random_state=1))
    assert vars(loaded.kind_) == vars(trained.kind_)
    loaded.fit_sampler("gmm", waves(400))
    assert loaded.sample(2, sampler="gmm").shape == (2, 48, 2)


def test_what_cannot_be_learned_is_told_first():
    x = waves(100)
    assert "smaller window" in mistake(vk.SeriesVAE(window=100).fit, x)
    assert "window=1 " in mistake(vk.SeriesVAE(window=1).fit, x)
    assert "no value at all" in mistake(vk.SeriesVAE(**TINY).fit, np.full((100, 2), np.nan))
    assert "'mlp'" in mistake(vk.SeriesVAE(**{**TINY, "network": "conv"}).fit, x)
    vae = vk.SeriesVAE(**TINY).fit(x)
    assert "1 channels" in mistake(vae.score_samples, x[:, :1])
    assert "window, past, last" in mistake(vae.score_samples, x, by="step")
    assert "for series" in mistake(vk.VAE(likelihood="autoregressive").fit, x)
    assert "draws=0 has to be" in mistake(vae.impute, x, draws=0)


def test_a_constant_channel_and_steps_without_values_are_no_trouble():
    x = np.column_stack([waves(200), np.full(200, 5.0)])
    x[40:80] = np.nan  # whole windows of nothing
    vae = vk.SeriesVAE(**TINY).fit(x)
    scores = vae.score_samples(x)
    assert np.isnan(scores[40:80]).all()
    assert np.isfinite(np.delete(scores, np.arange(40, 80))).all()
    filled = vae.impute(x)
    assert np.isfinite(filled).all()
    assert np.isfinite(vae.impute(np.full((30, 3), np.nan))).all()
    np.testing.assert_allclose(filled[40:80, 2], 5.0, atol=1.0)


def test_the_command_line(tmp_path):
    x = waves(400)
    when = pd.date_range("2024-01-01", periods=400, freq="10min")
    table = pd.DataFrame({"timestamp": when, "a": x[:, 0], "b": x[:, 1]}).drop(index=[30, 31])
    table.to_csv(tmp_path / "machine.csv", index=False)
    told = vaekit("fit", "machine.csv", "--kind", "series", "--window", 32, "--epochs", 2, cwd=tmp_path, check=0).stderr
    assert "have no row: 2" in told
    run = tmp_path / "runs" / "machine"
    assert (run / "report.html").exists()
    vaekit("score", "runs/machine", "machine.csv", cwd=tmp_path, check=0)
    assert len(pd.read_csv(run / "scores.csv")) == 398
    vaekit("impute", "runs/machine", "machine.csv", cwd=tmp_path, check=0)
    filled = pd.read_csv(run / "imputed.csv", parse_dates=["timestamp"]).set_index("timestamp")
    assert (filled.index.to_numpy() == when.to_numpy()).all()
    new = vk.load(run).sample(3)
    vk.load(run).kind_.write(tmp_path / "new.csv", new)
    written = pd.read_csv(tmp_path / "new.csv")
    assert list(written.columns) == ["window", "step", "a", "b"]
    np.testing.assert_allclose(written[["a", "b"]].to_numpy().reshape(3, 32, 2), new)
    assert filled.notna().all(axis=None)
    np.testing.assert_array_equal(filled.loc[table["timestamp"]].to_numpy(), table[["a", "b"]].to_numpy())


# -- VUS-PR ------------------------------------------------------------------------------------------------------------


def by_definition(labels, scores, window, thresholds):
    """VUS-PR, a loop for each of its sums."""
    steps = len(labels)
    ranges, start = [], None
    for t in range(steps + 1):
        inside = t < steps and labels[t]
        if inside and start is None:
            start = t
        if not inside and start is not None:
            ranges.append((start, t - 1))
            start = None
    ordered = sorted(scores, reverse=True)
    areas = []
    for ell in range(window + 1):
        soft = [float(v) for v in labels]
        for a, b in ranges:
            for d in range(1, ell // 2 + 1):
                for t in (a - d, b + d):
                    if 0 <= t < steps:
                        soft[t] = min(1.0, soft[t] + (1 - d / ell) ** 0.5)
        wide: list[list[int]] = []
        for a, b in ranges:
            if wide and a - ell // 2 <= wide[-1][1]:
                wide[-1][1] = b + ell // 2
            else:
                wide.append([a - ell // 2, b + ell // 2])
        area = last = 0.0
        for i in np.linspace(0, steps - 1, thresholds).astype(int):
            found = [s >= ordered[i] for s in scores]
            hit = sum(v for v, f in zip(soft, found, strict=True) if f)
            beside = sum(v for v, f, y in zip(soft, found, labels, strict=True) if f and not y)
            touched = sum(any(found[max(a, 0) : b + 1]) for a, b in wide) / len(wide)
            recall = min(hit / (sum(labels) + beside / 2), 1.0) * touched
            area += (recall - last) * hit / sum(found)
            last = recall
        areas.append(area)
    return sum(areas) / len(areas)


@given(st.lists(st.booleans(), min_size=4, max_size=40), st.integers(0, 9), st.integers(0, 12), st.integers(2, 30))
def test_vus_pr_is_what_its_definition_says(labels, seed, window, thresholds):
    labels[:2] = [False, True]
    scores = np.random.default_rng(seed).integers(0, 6, len(labels)).astype(float)
    assert vus_pr(np.array(labels), scores, window, thresholds=thresholds) == pytest.approx(
        by_definition(labels, scores, window, thresholds)
    )


def test_vus_pr_in_cases_known_beforehand():
    rng = np.random.default_rng(0)
    labels = np.zeros(200, bool)
    labels[90:110] = True
    scores = rng.normal(size=200) + labels
    assert vus_pr(labels, scores, 0) == pytest.approx(
        average_precision_score(labels, scores)
    )  # of one range: no margin
    assert vus_pr(labels, labels.astype(float), 0) == pytest.approx(1.0)
    beside = np.roll(labels, 8).astype(float)
    assert vus_pr(labels, beside, 40) > vus_pr(labels, beside, 0)  # a detection that is late counts the more, the wider
    far = np.roll(labels, 80).astype(float)
    assert vus_pr(labels, far, 40) < 0.2 < vus_pr(labels, beside, 40)
    assert "same" in mistake(vus_pr, np.ones(5), np.arange(5))
    assert "finite" in mistake(vus_pr, np.arange(5) > 2, np.array([1, 2, np.nan, 3, 4]))


def test_anomalies_of_a_real_machine_are_found():
    archive = zipfile.ZipFile(real("timeseries/nab.zip"))
    name = "realKnownCause/ec2_request_latency_system_failure.csv"
    rows = [line.split(",") for line in archive.read(f"data/{name}").decode().splitlines()[1:]]
    x, times = np.array([float(r[1]) for r in rows]), np.array([r[0] for r in rows], "M8[s]")
    labels = np.zeros(len(x), bool)
    for start, stop in json.loads(archive.read("labels/combined_windows.json"))[name]:
        labels |= (times >= np.datetime64(start)) & (times <= np.datetime64(stop))
    vae = vk.SeriesVAE(epochs=5, sampler="prior").fit(x)
    assert vus_pr(labels, -vae.score_samples(x, k=8), 100) > 3 * labels.mean()


# -- what a value can be -------------------------------------------------------------------------------------------------


def test_counts_stay_counts():
    rng = np.random.default_rng(0)
    counts = rng.poisson(3 * (1.1 + np.sin(2 * np.pi * np.arange(300) / 24)), 300).astype(float)
    both = np.column_stack([counts, rng.normal(size=300)])
    both[100:120] = np.nan
    vae = vk.SeriesVAE(**TINY).fit(both)
    drawn, best = np.stack(vae.impute(both, draws=10)), vae.impute(both)
    for values in (drawn, best, vae.sample(20), vae.reconstruct(both)):
        assert (values[..., 0] >= 0).all()
        assert (values[..., 0] == np.round(values[..., 0])).all()
    assert (drawn[:, 100:120, 1] < 0).any()


@pytest.mark.parametrize(
    ("values", "low", "high", "step"),
    [
        ([0.25, 0.5, 7.75], 0, np.inf, 0.01),
        ([4, 7, 1000], 0, np.inf, 1),
        ([-3, -0.5, 0], -np.inf, 0, 0.1),
        ([0, 37, 100], 0, 100, 1),
        ([0, 37, 99], 0, np.inf, 1),
        ([-1, np.pi, 2], -np.inf, np.inf, 0),
    ],
)
def test_bounds_and_steps_are_those_of_the_data(values, low, high, step):
    column = np.array([*values, np.nan])[:, None]
    domain = Series.infer([column], 2)
    assert (domain.low, domain.high, domain.step) == ([low], [high], [step])
    np.testing.assert_allclose(domain.limited(column), column, rtol=0, atol=1e-12)
    far = domain.limited(np.array([[-1e3 - 0.123], [1e3 + 0.123]]))
    assert far[0, 0] == (low if low == 0 else pytest.approx(-1e3 - 0.123, abs=step))
    assert far[1, 0] == (high if high < 1e3 else pytest.approx(1e3 + 0.123, abs=step))


# -- how sure a fill is --------------------------------------------------------------------------------------------------


def test_a_spread_is_calibrated_by_errors():
    random = np.random.default_rng(0)
    spreads = random.uniform(0.5, 2, 10_000)
    errors = np.abs(random.normal(size=10_000)) * spreads  # as many standard deviations off as a Normal is
    assert calibrated_spread(errors, spreads) == pytest.approx(1, abs=0.03)
    assert calibrated_spread(3 * errors, spreads) == pytest.approx(3, abs=0.1)
    assert calibrated_spread(errors / 4, spreads) == pytest.approx(1 / 4, abs=0.01)


@pytest.mark.parametrize("epochs", [2, 20])
def test_intervals_of_fills_hold_what_they_say(epochs):
    whole = waves(900, noise=0.3)
    gaps = whole.copy()
    for start in range(30, 850, 60):
        gaps[start : start + 12] = np.nan
    hidden = np.isnan(gaps)
    vae = vk.SeriesVAE(window=32, latent_dim=2, epochs=epochs, sampler="prior").fit(gaps)
    draws = np.stack(vae.impute(gaps, draws=100))
    low, high = np.quantile(draws[:, hidden], [0.05, 0.95], axis=0)
    assert 0.82 < ((low <= whole[hidden]) & (whole[hidden] <= high)).mean() < 0.98


def test_a_fill_no_better_than_the_mean_is_told():
    noise = np.random.default_rng(0).normal(
        size=(400, 8)
    )  # by luck a fill may be a little better, but not in all channels
    noise[50:100] = np.nan
    with pytest.warns(Note, match=r"no better than its mean would: \d+ values"):
        vk.SeriesVAE(**TINY).fit(noise).impute(noise)


# -- files as people have them ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "cells", "second"),
    [
        ("Month,v", lambda t: f"{t:%Y-%m}", "1949-02-01"),
        ("date,v", lambda t: f"{t:%Y%m%d}", "1949-02-01"),
        ("day,v", lambda t: f"{t:%m/%d/%Y}", "1949-02-01"),
        ("day,hour,v", lambda t: f"{t:%d/%m/%Y},{t:%H.%M.%S}", "1949-02-01T18:30"),
        ("day,hour,v", lambda t: f"{t:%Y-%m-%d},{t:%H:%M}", "1949-02-01T18:30"),
    ],
)
def test_times_are_read_as_people_write_them(header, cells, second, tmp_path):
    months = [dt.datetime(1949 + i // 12, i % 12 + 1, 1, 18, 30) for i in range(30)]
    lines = [f"{cells(t)},{i}" for i, t in enumerate(months)]
    (tmp_path / "a.csv").write_text("\n".join([header, *lines]) + "\n")
    for source in (tmp_path / "a.csv", pd.read_csv(tmp_path / "a.csv")):
        read = read_series(source)
        assert read.columns == ["v"]
        assert read.times[read.steps[1]] == np.datetime64(second)
        np.testing.assert_array_equal(read.values[0][read.steps, 0], np.arange(30))


def test_columns_without_numbers_are_left_out_and_told(tmp_path):
    lines = [f"{t},{i},fine,," for i, t in enumerate(pd.date_range("2024-01-01", periods=9, freq="h"))]
    (tmp_path / "a.csv").write_text("\n".join(["time,v,remark,empty,none", *lines]) + "\n")
    read = read_series(tmp_path / "a.csv")
    assert read.columns == ["v"]
    assert any("left out: remark, empty, none" in note for note in read.notes)
    words = (
        (tmp_path / "a.csv").read_text().replace(",3,", ",broken,")
    )  # one cell of many: a mistake, and no column of words
    (tmp_path / "b.csv").write_text(words)
    assert "broken" in mistake(read_series, tmp_path / "b.csv")


@pytest.mark.parametrize(
    ("header", "row", "column", "last"),
    [
        ("year,month", lambda i: f"{1949 + i // 12},{1 + i % 12}", "time", "1950-12-01 00:00:00"),
        ("No,year,month,day,hour", lambda i: f"{i + 1},2010,1,{1 + i // 12},{i % 12}", "time", "2010-01-02 11:00:00"),
        ("Year", lambda i: str(1700 + i), "Year", "1723"),
        ("ts", lambda i: str(1262304000 + 3600 * i), "ts", "1262386800"),
        ("m", lambda i: f"{dt.date(2010 + i // 12, 1 + i % 12, 1):%b-%y}", "m", "Dec-11"),
        ("d", lambda i: f"{1 + i}.1.2020", "d", "24.1.2020"),
    ],
)
def test_times_in_parts_and_counts_are_no_channels_and_come_back_as_they_were(header, row, column, last, tmp_path):
    y = np.random.default_rng(0).normal(size=24).round(3)
    (tmp_path / "a.csv").write_text(f"{header},v\n" + "".join(f"{row(i)},{v}\n" for i, v in enumerate(y)))
    for columns in (None, ["v"]):
        read = read_series(tmp_path / "a.csv", columns=columns)
        assert (read.columns, read.time_column) == (["v"], column)
        seen = read.values[0][~np.isnan(read.values[0])]
        assert seen.tolist() == y.tolist()
        found = read.names[column]
        assert str(found[-1]).replace("T", " ").replace(".000000", "").removesuffix(".0") == last
        assert not any("schema" in note for note in read.notes)


@pytest.mark.parametrize(("skipped", "told"), [(slice(0), True), (slice(50, 55), True), (slice(0, None, 3), False)])
def test_a_series_that_is_read_as_a_table_is_noticed(skipped, told):
    """Times in equal steps are those of a series. Where many steps are missing, rows may be events."""
    days = np.delete(np.arange("2020-01-01", "2021-01-01", dtype="M8[D]"), skipped)
    table = pd.DataFrame({"value": np.arange(len(days)) % 7.0, "day": days})
    with kept_notes() as notes:
        vk.VAE(size="small", epochs=1, sampler="prior").fit(table)
    assert any("column 'day' rise in equal steps" in note for note in notes) == told
