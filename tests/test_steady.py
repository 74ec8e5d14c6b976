"""An exported model says the same of a row, to the last bit, whatever lies beside it."""

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import vaekit as vk
from conftest import TINY
from vaekit.deploy.export import export
from vaekit.deploy.steady import steady
from vaekit.runtime import load
from vaekit.sources.base import Dataset
from vaekit.uses.calibration import Calibration

N = 1100
RNG = np.random.default_rng(0)


def numbers():
    X = RNG.normal(size=(N, 7)).cumsum(1)
    X[RNG.random(X.shape) < 0.1] = np.nan
    return vk.VAE(**{**TINY, "latent_dim": 3}).fit(X[:90]), X


def table():
    X = pd.DataFrame(RNG.normal(size=(N, 3)).cumsum(1), columns=["a", "b", "c"]).assign(
        word=RNG.choice(["x", "y", "z"], N)
    )
    X = X.mask(RNG.random(X.shape) < 0.1)
    return vk.VAE(**{**TINY, "latent_dim": 3}).fit(X[:200]), X


def lone_column():
    X = pd.DataFrame({"a": RNG.gamma(2.0, size=N)}).mask(RNG.random((N, 1)) < 0.3)
    return vk.VAE(**{**TINY, "latent_dim": 1}).fit(X[:200]), X


def pictures():
    X = RNG.integers(0, 256, (N, 9, 11, 3)).astype(np.uint8)
    return vk.VAE(**{**TINY, "latent_dim": 3}, network="conv").fit(X[:40]), X


SLOW = [pytest.param(make, marks=pytest.mark.slow) for make in (table, lone_column, pictures)]  # tracing takes a while
GRAPHS = ("encoder", "prior", "decoder", "draw", "score", "complete")


@pytest.fixture(scope="module", params=[numbers, *SLOW], ids=lambda make: make.__name__)
def model(request, tmp_path_factory):
    """A model, rows, and what it says of all of them at once, by what is asked."""
    vae, X = request.param()
    folder = tmp_path_factory.mktemp("steady") / "model"
    odd = Calibration([vae.fitted_], "loglik", k=5)
    kind = vae.fitted_.kind
    if not kind.fills:
        odd.calibrate((Dataset(X[:40], kind.name, "", None, {}, []), np.arange(40)), "here")
    export(vae, folder, odd=odd, k=5, only=GRAPHS)
    runtime = load(folder)
    asked = ["score", "encode", "reconstruct", *["p_values"] * (not kind.fills), *["impute"] * kind.fills]
    return runtime, X, {name: said(runtime, name, X, slice(0, 200 if name == "impute" else N)) for name in asked}


def said(runtime, name, X, rows):
    found = getattr(runtime, name)(X.iloc[rows] if hasattr(X, "iloc") else X[rows])
    if isinstance(found, dict):
        return np.stack([np.asarray(values).astype(object).astype(str) for values in found.values()], axis=1)
    return found


@settings(max_examples=60)
@given(start=st.integers(0, N - 1), length=st.sampled_from([1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 63, 65, 128, 257]))
def test_a_row_is_told_the_same_in_every_batch(model, start, length):
    runtime, X, everything = model
    for name, wanted in everything.items():
        first = start % len(wanted)
        np.testing.assert_array_equal(
            said(runtime, name, X, slice(first, first + length))[: len(wanted) - first], wanted[first : first + length]
        )


def test_a_row_is_told_the_same_at_every_place(model):
    runtime, X, everything = model
    turned = np.roll(np.arange(64), 11)
    for name, wanted in everything.items():
        np.testing.assert_array_equal(said(runtime, name, X, turned), wanted[turned])


def test_samples_follow_from_their_numbers(model):
    runtime = model[0]

    def drawn(n, first=0):
        found = runtime.sample(n, seed=4, first=first)
        return pd.DataFrame(found) if isinstance(found, dict) else pd.DataFrame(found.reshape(n, -1))

    both = drawn(2100)
    pd.testing.assert_frame_equal(drawn(1024), both[:1024])
    pd.testing.assert_frame_equal(drawn(1076, first=1024), both[1024:].reset_index(drop=True))


@pytest.mark.parametrize("axes", [[-1], [1, 2], [0, 2], [0, 1], [1]])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMean"])
@pytest.mark.parametrize("keep", [0, 1])
def test_a_sum_stays_what_it_was(op, axes, keep):
    def built():
        node = helper.make_node(op, ["x", "axes"], ["y"], keepdims=keep)
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, "rows", 5] if axes != [1, 2] else ["rows", 3, 5])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph([node], "g", [x], [y], [numpy_helper.from_array(np.array(axes), "axes")])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)

    def run(proto):
        session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {"x": np.arange(45, dtype=np.float32).reshape(3, 3, 5) ** 1.5})[0]

    np.testing.assert_allclose(run(steady(built())), run(built()), rtol=1e-6)
