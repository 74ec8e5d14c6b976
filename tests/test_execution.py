"""Each step's action is what its definition says, whatever was predicted."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from vaekit.robots import execution as module
from vaekit.robots.execution import ExecuteK, TemporalEnsemble, execution


def played(ensemble, chunks):
    actions = []
    for chunk in chunks:
        assert ensemble.wants_chunk()
        ensemble.add(chunk)
        actions.append(ensemble.next())
    return np.stack(actions)


def by_definition(chunks, m):
    """Every step anew from all chunks that cover it; chunks (steps, ..., S, A)."""
    actions = []
    for now in range(len(chunks)):
        covering = [chunks[i][..., now - i, :] for i in range(now + 1) if now - i < chunks[i].shape[-2]]
        exponents = np.array([-m * i for i in range(len(covering))])
        weights = np.exp(exponents - exponents.max())
        actions.append(sum(w * a for w, a in zip(weights / weights.sum(), covering, strict=True)))
    return np.stack(actions)


def test_ensemble_is_lerobots():
    reference = np.load(Path(__file__).parent / "data" / "temporal_ensemble.npz")
    actions = played(TemporalEnsemble(0.01), reference["chunks"])
    assert actions.dtype == np.float32
    np.testing.assert_allclose(actions, reference["lerobot/m0.01"], rtol=0, atol=2e-6)


numbers = st.floats(-10, 10, width=32) | st.just(0.0)


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 12).flatmap(
        lambda steps: arrays.arrays(
            np.float32,
            st.tuples(st.just(steps), st.integers(1, 3), st.integers(1, 6), st.integers(1, 3)),
            elements=numbers,
        )
    ),
    st.sampled_from([0.0, 0.01, -0.01, 0.5, -2.0, 30.0, -300.0]) | st.floats(-3, 3),
    st.booleans(),
)
def test_ensemble_is_its_definition(chunks, m, batched):
    chunks = chunks if batched else chunks[:, 0]
    ensemble = TemporalEnsemble(m)
    np.testing.assert_allclose(played(ensemble, chunks), by_definition(chunks, m), rtol=0, atol=2e-6)
    ensemble.reset()
    np.testing.assert_allclose(played(ensemble, chunks[::-1]), by_definition(chunks[::-1], m), rtol=0, atol=2e-6)


def test_a_zero_is_a_prediction():
    chunks = [np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]])]
    assert played(TemporalEnsemble(0.0), chunks)[1] == 0.5


def test_extreme_coefficients_trust_the_oldest_or_the_newest():
    chunks = np.random.default_rng(0).normal(size=(300, 200, 1))
    np.testing.assert_allclose(played(TemporalEnsemble(700), chunks)[250], chunks[51, 199])
    np.testing.assert_allclose(played(TemporalEnsemble(-700), chunks)[250], chunks[250, 0])


def test_ensemble_keeps_one_chunk_and_serves_steps_without_a_prediction():
    ensemble, chunk = TemporalEnsemble(), np.arange(6.0).reshape(3, 2)
    for _ in range(50):
        ensemble.add(chunk)
        ensemble.next()
    assert ensemble.mean.shape == (3, 2)
    ensemble.reset()
    ensemble.add(chunk)
    np.testing.assert_array_equal([ensemble.next() for _ in range(3)], chunk)
    with pytest.raises(ValueError, match="no chunk covers this step"):
        ensemble.next()


@pytest.mark.parametrize("batched", [False, True])
def test_execute_k_plays_k_actions_of_each_chunk(batched):
    chunks = np.random.default_rng(0).normal(size=(4, 2, 5, 3) if batched else (4, 5, 3)).astype(np.float32)
    executor, actions, buffer = ExecuteK(3), [], np.empty_like(chunks[0])
    for step in range(12):
        assert executor.wants_chunk() == (step % 3 == 0)
        if executor.wants_chunk():
            buffer[:] = chunks[step // 3]
            executor.add(buffer)
            buffer[:] = np.nan  # a predictor may reuse its output
        actions.append(executor.next())
    expected = [chunks[step // 3][..., step % 3, :] for step in range(12)]
    np.testing.assert_array_equal(actions, expected)
    executor.add(chunks[0])
    executor.reset()
    assert executor.wants_chunk()


def test_one_chunk_played_whole_and_closed_loop():
    chunk = np.arange(8.0).reshape(4, 2)
    whole, closed = ExecuteK(4), ExecuteK(1)
    whole.add(chunk)
    np.testing.assert_array_equal([whole.next() for _ in range(4)], chunk)
    for _ in range(2):
        closed.add(chunk)
        np.testing.assert_array_equal(closed.next(), chunk[0])
        assert closed.wants_chunk()


def test_text():
    assert execution("ensemble").coefficient == 0.01
    assert execution("ensemble:0.05", 5).coefficient == 0.05
    assert execution("ensemble:-1").coefficient == -1
    assert execution("5", 5).k == 5
    assert execution("1").k == 1


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: execution("6", 5), "cannot play 6 actions of a chunk of 5: choose at most 5"),
        *((lambda t=t: execution(t), f"unknown execution '{t}'")
          for t in ("", "0", "-1", "2.5", "all", "ensemble:", "ensemble:x", "ensemble:nan", "ensembles", "5:1")),
        (lambda: TemporalEnsemble(math.nan), "coefficient is nan"),
        (lambda: ExecuteK(0), "k is 0"),
        (lambda: ExecuteK(3).add(np.zeros((2, 1))), "cannot play 3 actions of a chunk of 2"),
        (lambda: ExecuteK(3).next(), "all actions are played"),
        (lambda: ExecuteK(3).add(np.zeros(4)), r"a chunk has the shape \(4,\)"),
        (lambda: TemporalEnsemble().next(), "no chunk covers this step"),
        (lambda: played(TemporalEnsemble(), [np.zeros((2, 1)), np.zeros((3, 1))]), r"a chunk \(3, 1\) follows"),
    ],
)  # fmt: skip
def test_mistakes_are_told(mistake, message):
    with pytest.raises(ValueError, match=message) as error:
        mistake()
    assert "\n" not in str(error.value)


def test_it_needs_only_numpy():
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imported == {"__future__", "math", "numpy"}
