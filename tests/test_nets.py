"""Networks fit any shape, hear the condition, and learn in every part."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vaekit.nets import MLP, ConvDecoder, ConvEncoder, conv, mlp
from vaekit.nets.condition import ConditionEmbedding
from vaekit.nets.conv import Conv


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 4), st.sampled_from([0, 5]))
def test_convolutions_fit_any_picture(height, width, channels, features):
    c = [torch.randn(2, features)] if features else []
    encoder = ConvEncoder((channels, height, width), (6,), features, width=4, blocks=1)
    decoder = ConvDecoder((3,), (channels, height, width), features, width=4, blocks=1)
    assert encoder(torch.randn(2, channels, height, width), *c).shape == (2, 6)
    assert decoder(torch.randn(2, 3), *c).shape == (2, channels, height, width)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 30), st.sampled_from([0, 5]))
def test_mlp_fits_any_shape(in_shape, out, features):
    c = [torch.randn(2, features)] if features else []
    assert MLP(in_shape, (out,), features)(torch.randn(2, *in_shape), *c).shape == (2, out)


NETS = {
    "mlp": lambda f: (MLP((3, 9, 7), (8,), f), MLP((4,), (3, 9, 7), f)),
    "conv": lambda f: (ConvEncoder((3, 9, 7), (8,), f), ConvDecoder((4,), (3, 9, 7), f)),
}


@pytest.mark.parametrize("name", NETS)
def test_every_weight_learns_and_the_condition_is_heard(name):
    torch.manual_seed(0)
    for net, x in zip(NETS[name](5), (torch.randn(2, 3, 9, 7), torch.randn(2, 4)), strict=True):
        optimizer = torch.optim.SGD(net.parameters(), 0.01)
        for _ in range(2):  # residual branches start at zero: they pass gradients from the second step on
            optimizer.zero_grad()
            net(x, torch.randn(2, 5)).square().sum().backward()
            optimizer.step()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
        assert not torch.allclose(net(x, torch.zeros(2, 5)), net(x, torch.ones(2, 5)))


@pytest.mark.parametrize("sizes", [conv.SIZES, mlp.SIZES])
def test_there_are_three_sizes_each_larger(sizes):
    assert list(sizes) == ["small", "base", "large"]

    def parameters(size):
        net = MLP((784,), (8,), hidden=size) if sizes is mlp.SIZES else ConvEncoder((1, 28, 28), (8,), **size)
        return sum(p.numel() for p in net.parameters())

    assert parameters(sizes["small"]) < parameters(sizes["base"]) < parameters(sizes["large"])


def test_what_a_network_says_of_a_row_does_not_depend_on_its_batch():
    net = ConvEncoder((1, 12, 12), (8,)).double()
    x = torch.randn(6, 1, 12, 12, dtype=torch.float64)
    torch.testing.assert_close(net(x)[2:3], net(x[2:3]), rtol=1e-9, atol=1e-9)


def test_condition_embedding_tells_partly_unknown_numbers_apart():
    embedding = ConditionEmbedding({}, {"pose": 2})
    known, half, zero = (torch.tensor([v]) for v in ([1.0, 0.0], [1.0, torch.nan], [0.0, 0.0]))
    outputs = [embedding(v, 1) for v in (known, half, zero)]
    assert embedding.features == 32
    assert all(not torch.allclose(a, b) for a, b in ((outputs[0], outputs[1]), (outputs[0], outputs[2])))


@pytest.mark.parametrize("size", [(8, 1), (1, 5), (1, 1)])
def test_gradients_in_bfloat16_are_those_of_32_bits_where_a_side_is_one(size):
    torch.manual_seed(0)
    conv, x = Conv(64, 128, 3, stride=2, padding=1), torch.randn(14, 64, *size)
    conv(x).square().sum().backward()
    wanted, conv.weight.grad = conv.weight.grad, None
    lost = [torch.full((conv.weight.numel(),), torch.nan, dtype=torch.bfloat16) for _ in range(4)]
    del lost  # memory that is reused holds NaN
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(x)
    found.float().square().sum().backward()
    torch.testing.assert_close(conv.weight.grad, wanted, rtol=0.05, atol=0.5)
