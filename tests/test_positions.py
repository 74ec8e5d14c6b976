"""Position embeddings give the originals' numbers, with and without padding."""

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.nets import PositionEmbeddingLearned, PositionEmbeddingSine
from vaekit.nets.positions import sinusoid_table

REFERENCE = np.load(Path(__file__).parent / "data" / "position_embeddings.npz")
CASES = sorted({key.rsplit("/", 1)[0] for key in REFERENCE if key.startswith("sine/")})


def close(actual, expected):
    torch.testing.assert_close(actual, torch.as_tensor(expected), rtol=0, atol=2e-6)


@pytest.mark.parametrize("case", CASES)
def test_sine_is_detrs(case):
    features, temperature, normalize, scale = REFERENCE[f"{case}/meta"]
    embedding = PositionEmbeddingSine(int(features), temperature, bool(normalize), float(scale) or None)
    mask = torch.from_numpy(REFERENCE[f"{case}/mask"])
    close(embedding(mask), REFERENCE[f"{case}/pos"])
    if not mask.any():
        close(embedding.grid(*mask.shape[1:]).expand(len(mask), -1, -1, -1), REFERENCE[f"{case}/pos"])


def test_learned_is_detrs():
    table = {name: torch.from_numpy(REFERENCE[f"learned/a_f4_2x3x5/{name}"]) for name in ("row", "col")}
    embedding = PositionEmbeddingLearned(4)
    embedding.load_state_dict({"row_embed.weight": table["row"], "col_embed.weight": table["col"]})
    expected = REFERENCE["learned/a_f4_2x3x5/pos"]
    close(embedding(torch.rand(2, 3, 5) < 0.5), expected)
    close(embedding.grid(3, 5), expected[:1])


def test_sequence_table_is_acts():
    reference = np.load(Path(__file__).parent / "data" / "sinusoid_1d.npz")
    close(sinusoid_table(10, 16), reference["lerobot_10x16"])
    assert sinusoid_table(3, 5).shape == (3, 5)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_sine_is_its_formula(data):
    """Pixel by pixel, in float64."""
    height, width, half = (data.draw(st.integers(1, 5)) for _ in range(3))
    normalize, temperature = data.draw(st.booleans()), data.draw(st.sampled_from([20.0, 10000.0]))
    scale = data.draw(st.sampled_from([None, 1.0])) if normalize else None
    mask = torch.tensor(data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width)))
    mask = mask.reshape(1, height, width)
    out = PositionEmbeddingSine(2 * half, temperature, normalize, scale)(mask)
    valid = 1.0 - mask[0].double().numpy()
    for i in range(height):
        for j in range(width):
            for block, line, count in ((0, valid[:, j], i + 1), (1, valid[i], j + 1)):
                place = line[:count].sum()
                if normalize:
                    place = place / (line.sum() + 1e-6) * (scale or 2 * math.pi)
                for channel in range(2 * half):
                    angle = place / temperature ** (2 * (channel // 2) / (2 * half))
                    expected = math.cos(angle) if channel % 2 else math.sin(angle)
                    assert abs(out[0, block * 2 * half + channel, i, j].item() - expected) < 2e-6


def test_grid_is_kept_and_serves_training_after_prediction():
    embedding = PositionEmbeddingSine(8, normalize=True)
    with torch.inference_mode():
        first = embedding.grid(4, 6)
    assert embedding.grid(4, 6) is first
    assert copy.deepcopy(embedding).grid(4, 6) is first
    assert embedding.grid(6, 4).shape == (1, 16, 6, 4)
    scale = torch.ones(1, requires_grad=True)
    (first * scale).sum().backward()
    assert not embedding.state_dict()


def test_half_precision_is_rounded_only_at_the_end():
    sine, mask = PositionEmbeddingSine(8), torch.rand(2, 20, 30) < 0.3
    full, grid = sine(mask), sine.grid(20, 30)
    sine.to(torch.bfloat16)
    assert torch.equal(sine(mask), full.bfloat16())
    assert torch.equal(sine.grid(20, 30), grid.bfloat16())
    assert PositionEmbeddingLearned(8).half().grid(2, 3).dtype == torch.float16


@pytest.mark.parametrize("embedding", [PositionEmbeddingSine(8, normalize=True), PositionEmbeddingLearned(8)])
def test_exports(embedding):
    class AddPositions(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = copy.deepcopy(embedding)

        def forward(self, x, mask):
            return x + self.embedding.grid(*x.shape[2:]) + self.embedding(mask)

    net, batch = AddPositions(), torch.export.Dim("batch")
    inputs = torch.randn(3, 16, 4, 7), torch.rand(3, 4, 7) < 0.3
    exported = torch.export.export(net, inputs, dynamic_shapes=({0: batch}, {0: batch})).module()
    inputs = torch.randn(2, 16, 4, 7), torch.rand(2, 4, 7) < 0.3
    close(exported(*inputs), net(*inputs).detach())
    close(torch.export.export(net, inputs, strict=True).module()(*inputs), net(*inputs).detach())


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: PositionEmbeddingSine(7), "num_features is 7: give an even number"),
        (lambda: PositionEmbeddingSine(0), "num_features is 0: give a positive number"),
        (lambda: PositionEmbeddingSine(8, temperature=-1), "temperature is -1"),
        (lambda: PositionEmbeddingSine(8, temperature=math.nan), "temperature is nan"),
        (lambda: PositionEmbeddingSine(8, scale=1.0), r"scale=1.0 without normalize: set normalize=True"),
        (lambda: PositionEmbeddingSine(8)(torch.zeros(3, 4, dtype=torch.bool)), r"mask is torch.bool \(3, 4\)"),
        (lambda: PositionEmbeddingLearned(8)(torch.zeros(1, 3, 4)), r"mask is torch.float32 \(1, 3, 4\)"),
        (lambda: PositionEmbeddingLearned(0), "num_features is 0"),
        (lambda: PositionEmbeddingLearned(8).grid(3, 51), "a map of 3 x 51 .* is larger than max_size 50"),
        (lambda: sinusoid_table(0, 4), "length is 0"),
    ],
)
def test_mistakes_are_told(mistake, message):
    with pytest.raises(ValueError, match=message) as error:
        mistake()
    assert "\n" not in str(error.value)
