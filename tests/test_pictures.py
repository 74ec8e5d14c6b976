"""Pictures in every form that people have them in: axes, ranges, types, lists, and grids of them."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vaekit as vk
from conftest import noise, vaekit
from vaekit.errors import Note, UserError
from vaekit.kinds.pictures import Images
from vaekit.show.drawing import grid

QUICK = {"latent_dim": 2, "size": "small", "network": "mlp", "sampler": "prior"}


def blobs(n=200, side=8):
    """Pictures of a bright blob somewhere, with values from 0 to 1."""
    places = np.random.default_rng(0).uniform(1, side - 1, (n, 2))
    y, x = np.mgrid[:side, :side]
    return np.stack([np.exp(-((x - a) ** 2 + (y - b) ** 2) / 4) for a, b in places])


def error_of(x, **settings):
    """RMSE of reconstructions, in standard deviations of the data."""
    model = vk.VAE(**{**QUICK, "epochs": 150, "learning_rate": 5e-3, **settings}).fit(x)
    return np.sqrt(np.mean((model.reconstruct(x) - x) ** 2)) / x.std()


# ---- axes


def test_channels_first_is_the_same_picture():
    x = noise(60, 9, 8, 3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        first = vk.VAE(**QUICK, epochs=2).fit(torch.from_numpy(np.moveaxis(x, 3, 1)))
    assert ["channels first" in str(note.message) for note in said if note.category is Note] == [True]
    last = vk.VAE(**QUICK, epochs=2).fit(x)
    assert last.notes_ == []
    for verb in ("transform", "reconstruct", "score_samples"):
        ours, theirs = (getattr(model, verb)(rows) for model, rows in ((first, np.moveaxis(x, 3, 1)), (last, x)))
        np.testing.assert_array_equal(np.moveaxis(ours, 1, 3) if ours.ndim == 4 else ours, theirs)
    assert first.sample(4).shape == (4, 3, 9, 8)
    assert first.interpolate(x[0], x[1], 5).shape == (5, 3, 9, 8)
    np.testing.assert_array_equal(first.transform(x), first.transform(np.moveaxis(x, 3, 1)))  # in either layout


@pytest.mark.parametrize(
    ("shape", "first", "note"),
    [
        ((1, 16, 16), True, True), ((4, 16, 9), True, True), ((7, 64, 64), True, True), ((64, 64, 7), False, True),
        ((3, 32, 3), False, True), ((4, 4, 4), False, True), ((28, 28, 1), False, False), ((9, 8, 3), False, False),
        ((1, 1, 1), False, False), ((8, 8), False, False), ((8, 8, 200), False, True),
    ],
)  # fmt: skip
def test_which_axis_is_that_of_the_channels(shape, first, note):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        domain = Images.infer(np.linspace(0, 1, 2 * math.prod(shape)).reshape(2, *shape))
    assert (domain.channels_first, bool(said)) == (first, note)
    assert domain.shape == shape
    assert domain.event_shape == (shape if first else (1, *shape) if len(shape) == 2 else (shape[2], *shape[:2]))


def test_a_grey_axis_may_be_there_or_not():
    x = noise(20, 6, 5)
    for learned in (x, x[..., None], x[:, None]):
        domain = Images.infer(learned)
        packed = [domain.pack(rows)[0] for rows in (x, x[..., None], x[:, None])]
        assert torch.equal(packed[0], packed[1])
        assert torch.equal(packed[0], packed[2])
        assert domain.unpack(domain.batch(packed[0])).shape == learned.shape


@pytest.mark.parametrize(
    ("x", "word"),
    [
        (np.zeros((4, 5, 5, 5, 5)), r"got the shape \(4, 5, 5, 5, 5\)"),
        (np.zeros((4, 0, 5)), "no pixels"),
        (np.zeros((4, 5, 5), complex), "complex128"),
        (np.full((4, 5, 5), np.nan), "every pixel of the pictures is NaN"),
        (np.array([[["a"]]] * 4, object), "real numbers"),
        ([noise(5, 5), noise(4, 5), noise(4, 5)], r"2 have the shape \(4, 5\), 1 have the shape \(5, 5\).*--resize"),
        ([(noise(5, 5), 0), (noise(5, 5), 1)], r"list of pairs.*np\.stack"),
        (torch.utils.data.TensorDataset(torch.zeros(4, 5, 5)), r"TensorDataset.*np\.stack.*fit_data"),
        (torch.utils.data.DataLoader([0]), "DataLoader"),
        (vk.read("digits[:5]"), r"fit_data\(X\)"),
        (Path("photos"), r"fit_data\(vaekit.read\('photos'\)\)"),
    ],
)
def test_what_is_no_array_of_pictures(x, word):
    with pytest.raises(UserError, match=word):
        vk.VAE(**QUICK, epochs=1).fit(x)


def test_one_picture_is_no_set_of_them():
    model = vk.VAE(**QUICK, epochs=1).fit(noise(9, 6, 5, 3))
    with pytest.raises(UserError, match=r"X\[None\]"):
        model.transform(noise(6, 5, 3))


def test_forms_of_the_same_pictures():
    x = noise(12, 6, 5, 3)
    x.flags.writeable = False
    objects = np.empty(12, object)
    objects[:] = list(x)
    forms = [
        list(x),
        tuple(map(torch.from_numpy, x.copy())),
        [Image.fromarray(p) for p in x],
        objects,
        np.asfortranarray(x),
    ]
    for form in forms:
        model = vk.VAE(**QUICK, epochs=1).fit(form)
        assert model.kind_ == Images.infer(x)
        assert model.reconstruct(form).shape == x.shape
    detector = vk.AnomalyDetector(vk.VAE(**QUICK, epochs=1), method="loglik")
    assert detector.fit(forms[0]).predict(forms[1]).shape == (12,)
    masked = [np.ma.array(p[..., 0].astype(float), mask=p[..., 0] > 200) for p in x]
    assert vk.VAE(**QUICK, epochs=1).fit(masked).kind_.high <= 200


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", ">u2", "u4", "i8", "f2", "f8", "O"])
def test_types_come_back(dtype):
    x = (noise(30, 3, 4) // 3).astype(dtype)
    back = vk.VAE(**QUICK, epochs=1).fit(x).reconstruct(x)
    assert back.dtype == {"?": np.uint8, "O": np.float64}.get(dtype, np.dtype(dtype))


def test_booleans_are_rounded():
    domain = Images.infer(noise(9, 3, 3) > 99)
    x = torch.tensor([0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 0.0, 0.0, 1.0]).view(1, 1, 3, 3)
    assert domain.unpack(x).ravel().tolist() == [False, False, False, True, True, True, False, False, True]


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (1, 1, 3), (2, 2)])
def test_the_smallest_pictures(shape):
    x = noise(30, *shape)
    for network in ("mlp", "conv"):
        assert vk.VAE(**{**QUICK, "network": network}, epochs=1).fit(x).sample(3).shape == (3, *shape)


# ---- ranges


def test_the_unit_of_the_values_does_not_matter():
    x = blobs()
    as_they_are = error_of(x)
    assert as_they_are < 0.4
    for factor in (1e-4,):
        assert error_of(factor * x) == pytest.approx(as_they_are, rel=0.1)
    assert error_of(2.0 + 0.1 * x) < 1.2 * as_they_are


def test_a_hot_pixel_does_not_set_the_range():
    x = (1000 + 3000 * blobs()).astype(np.uint16)
    hot = x.copy()
    hot[7, 2, 3] = 65535
    model = vk.VAE(**QUICK, epochs=150, learning_rate=5e-3).fit(hot)
    assert (model.kind_.low, model.kind_.high) == (x.min(), x.max())
    assert len(model.notes_) == 1
    assert "65535 at (2, 3) of picture 7" in model.notes_[0]
    assert "1 of 12800, in 1 of 200 pictures" in model.notes_[0]
    back = model.reconstruct(x).astype(float)
    assert np.sqrt(np.mean((back - x) ** 2)) / x.std() < 0.4
    scores = model.score_samples(hot[:20], k=5)
    assert np.isfinite(scores).all()
    assert scores.argmin() == 7


def ranges(x, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        domain = Images.infer(x, **options)
    return domain.low, domain.high, domain.limits


def test_which_values_are_black_and_white():
    x = noise(100, 8, 8, top=17)
    assert ranges(x) == (0, 16, None)
    assert ranges(np.where(x > 15, 255, x).astype(np.uint8)) == (0, 255, None)  # white, in every picture
    hot, stuck, several = x.copy(), x.copy(), x.copy()
    hot[3, 0, 0], stuck[:, 5, 5], several[:5, 1, 1] = 255, 200, 250
    assert ranges(hot) == (0, 16, [0, 255])
    assert ranges(stuck) == (0, 16, [0, 200])
    assert ranges(several) == (0, 16, [0, 250])
    assert ranges(hot, standardize=False) == (0, 255, None)  # for likelihoods of values from 0 to 1
    few = x[:10].copy()
    few[0, 0, 0] = 255
    assert ranges(few) == (0, 255, None)  # ten pictures do not tell what is usual
    bright = x.copy()
    bright[:3] = 200 + x[:3]  # pictures of another kind, not pixels
    assert ranges(bright) == (0, 255, None)
    assert ranges(np.full((30, 2, 2), 7.0)) == (7, 8, None)
    assert ranges(x / 16) == (0, 1, None)
    assert ranges(x / 1024) == (0, 1 / 64, None)
    gaps = x / 1024
    gaps[0], gaps[1, 2] = np.nan, np.nan
    assert ranges(gaps) == (0, 1 / 64, None)
    assert ranges(noise(100, 8, 8, top=20) + 200) == (200, 219, None)


def test_a_picture_of_other_values_throughout_is_named():
    x = np.random.default_rng(0).uniform(100, 200, (200, 8, 8))
    x[5] = -32768
    with pytest.warns(Note, match="1 of 200 pictures, such as picture 5 .* black to -32768"):
        assert Images.infer(x).low == -32768
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Images.infer(np.where(x < 0, 150.0, x))


def test_a_narrow_range_is_said():
    with pytest.warns(Note, match="from 0.2 to 0.3 only"):
        Images.infer(np.array([[[0.2, 0.3]]] * 3))
    with pytest.warns(Note, match="every pixel of all pictures is 7"):
        Images.infer(np.full((3, 2, 2), 7))
    with pytest.warns(Note, match="from 200 to 219 only"):
        Images.infer(noise(100, 8, 8, top=20) + 200)


def test_black_and_white_pictures_with_gaps_are_black_and_white():
    x = (noise(30, 4, 4) > 99).astype(float)
    x[3, 1, 1] = np.nan
    assert Images.default_likelihood(x) == "bernoulli"
    assert Images.default_likelihood(x / 2) == "bernoulli"


# ---- many channels, and grids


@pytest.mark.filterwarnings("always")
def test_many_channels_in_and_out(tmp_path):
    x = noise(40, 6, 8, 8)  # six bands of 8x8 pixels
    np.save(tmp_path / "bands.npy", x)
    run = tmp_path / "run"

    said = vaekit(
        "fit", tmp_path / "bands.npy", "--size", "small", "--epochs", 1, "--latent-dim", 2, "--out", run, check=0
    )
    assert said.stderr.count("channels first") == 1
    assert "6 channels, of which the first 3 are shown" in (run / "report.html").read_text()
    vaekit("reconstruct", run, tmp_path / "bands.npy", "-o", tmp_path / "back.npy", check=0)
    assert np.load(tmp_path / "back.npy").shape == x.shape
    assert (
        "6 channels, and new.png shows the first 3"
        in vaekit("sample", run, "-n", 4, "-o", tmp_path / "new.png", check=0).stderr
    )
    assert Image.open(tmp_path / "new.png").mode == "RGB"
    for name, verb in (("pairs.png", "reconstruct"), ("codes.csv", "encode"), ("scores.csv", "score")):
        vaekit(verb, run, tmp_path / "bands.npy", "-o", tmp_path / name, check=0)
    vaekit(
        "interpolate", run, f"{tmp_path}/bands.npy[0]", f"{tmp_path}/bands.npy[1]", "-o", tmp_path / "way.gif", check=0
    )


@pytest.mark.parametrize(("n", "columns"), [(16, 4), (64, 8), (9, 3), (12, 4), (1, 1), (20, 5), (7, 3)])
def test_rows_of_a_grid_are_full_where_they_can_be(n, columns):
    width, height = grid(noise(n, 8, 8), scale=1).size
    assert ((width + 2) // 10, (height + 2) // 10) == (columns, -(-n // columns))
