"""Feature networks: what they recognise, that they are the same each time, and files that do not fit."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vaekit.errors import UserError
from vaekit.evaluation import FeatureNetwork, train_features


@pytest.fixture(scope="module")
def trained(digits):
    pictures, target = digits
    return train_features(pictures, {"digit": target, "odd": target % 2 == 1}, epochs=8)


def test_it_recognises_held_out_rows_of_every_label(trained, digits):
    assert trained.accuracy["digit"] > 0.9
    assert trained.accuracy["odd"] > 0.9
    features = trained.features(digits[0])
    assert features.shape == (1797, 64)
    nearest = torch.cdist(torch.from_numpy(features), torch.from_numpy(features)).fill_diagonal_(torch.inf).argmin(1)
    assert (digits[1][nearest] == digits[1]).mean() > 0.9  # like digits are near each other


def test_the_same_seed_gives_the_same_network_whatever_ran_before(digits):
    pictures, target = digits[0][:300], digits[1][:300]
    torch.rand(3)
    one = train_features(pictures, {"y": target}, epochs=1)
    before = torch.random.get_rng_state()
    two = train_features(pictures, {"y": target}, epochs=1)
    assert torch.random.get_rng_state().equal(before)
    assert one.hash == two.hash != train_features(pictures, {"y": target}, epochs=1, seed=1).hash


def test_a_row_has_its_features_whatever_is_beside_it(trained, digits):
    together = trained.features(digits[0][:50])
    np.testing.assert_allclose(trained.features(digits[0][7:8])[0], together[7], rtol=1e-4, atol=1e-5)


def test_real_and_generated_pictures_go_through_the_same_map(trained, digits):
    """The scale is the one that was learned, not that of the pictures at hand."""
    dark = digits[0][:5] // 4
    assert not np.allclose(trained.features(dark), trained.features(digits[0][:5]), atol=0.1)
    floats = train_features(digits[0][:200] / 16, {"y": digits[1][:200]}, epochs=1)
    bytes_ = train_features(digits[0][:200], {"y": digits[1][:200]}, epochs=1)
    np.testing.assert_allclose(
        floats.features(digits[0][:9] / 16), bytes_.features(digits[0][:9]), rtol=1e-3, atol=1e-3
    )


def test_colour_pictures_and_unknown_labels():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (60, 12, 9, 3), dtype=np.uint8)
    names = np.array([None if i % 5 == 0 else "ab"[i % 2] for i in range(60)], dtype=object)
    network = train_features(pictures, {"name.of": names}, epochs=2)
    assert network.labels["name.of"].classes == ["a", "b"]
    assert np.isfinite(network.features(pictures)).all()


def test_saved_and_loaded_it_is_the_same(trained, digits, tmp_path):
    path = trained.save(tmp_path / "f.safetensors")
    again = FeatureNetwork.load(path)
    np.testing.assert_array_equal(again.features(digits[0][:9]), trained.features(digits[0][:9]))
    assert (again.hash, again.accuracy) == (trained.hash, trained.accuracy)
    assert again.labels["digit"].classes == list(range(10))


def test_files_that_are_not_whole_or_another_thing(trained, tmp_path):
    path = trained.save(tmp_path / "f.safetensors")
    content = path.read_bytes()
    for size in (0, 5, 100, len(content) // 2, len(content) - 1):
        (tmp_path / "cut").write_bytes(content[:size])
        with pytest.raises(UserError, match="damaged or not a safetensors"):
            FeatureNetwork.load(tmp_path / "cut")
    with pytest.raises(UserError, match="vaekit features"):
        FeatureNetwork.load(tmp_path / "absent")
    save_file(load_file(path), tmp_path / "foreign")
    with pytest.raises(UserError, match="not a feature network"):
        FeatureNetwork.load(tmp_path / "foreign")
    changed = bytearray(content)
    changed[-2] ^= 1
    (tmp_path / "changed").write_bytes(changed)
    with pytest.raises(UserError, match="changed"):
        FeatureNetwork.load(tmp_path / "changed")


@pytest.mark.parametrize(
    ("pictures", "labels", "said"),
    [
        (np.zeros((5, 4)), {"y": [0, 1, 0, 1, 0]}, r"\(5, 4\)"),
        (np.zeros((5, 4, 4)), {}, "at least one"),
        (np.zeros((5, 4, 4)), {"y": [0, 1]}, "one label per picture"),
        (np.zeros((5, 4, 4)), {"y": [1, 1, 1, 1, 1]}, "at least 2"),
        (np.where(np.arange(80).reshape(5, 4, 4) == 7, np.nan, 0.5), {"y": [0, 1, 0, 1, 0]}, "missing pixels"),
    ],
)
def test_mistakes_are_told(pictures, labels, said):
    with pytest.raises(UserError, match=said):
        train_features(pictures, labels, epochs=1)


def test_pictures_unlike_those_learned_from_are_told(trained, digits):
    with pytest.raises(UserError, match="do not fit"):
        trained.features(np.zeros((3, 9, 8), np.uint8))
    with pytest.raises(UserError, match="float64"):
        trained.features(digits[0] / 16)
    with pytest.raises(UserError, match=r"\(N, H, W\)"):
        trained.features(np.zeros((3, 64), np.uint8))


def test_no_epochs_are_told(digits):
    with pytest.raises(UserError, match="epochs is 0"):
        train_features(digits[0], {"y": digits[1]}, epochs=0)
