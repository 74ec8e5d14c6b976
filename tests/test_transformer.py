"""Transformers agree with torch's own, heed what they may look at, and export."""

import pytest
import torch
from torch import nn

from vaekit.nets import TransformerDecoder, TransformerEncoder
from vaekit.nets.transformer import Attention

SETTINGS = [(act, first) for act in ("relu", "gelu") for first in (False, True)]


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-6)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def randomise(net):
    """torch starts biases at zero and norms at one, which would hide their mistakes."""
    for p in net.parameters():
        nn.init.normal_(p, 0.1 if p.ndim > 1 else 0.5, 0.15)
    return net


def tokens(count, batch=3, width=32):
    return torch.randn(batch, count, width)


def some_padding():
    padding = torch.zeros(3, 7, dtype=torch.bool)
    padding[0, 4:] = padding[1, 0] = True
    return padding


@pytest.mark.parametrize("same", ["all", "query and key", "key and value", "none"])
def test_attention_is_torchs(same):
    theirs = randomise(nn.MultiheadAttention(32, 4, batch_first=True))
    ours = Attention(32, 4)
    ours.load_state_dict(theirs.state_dict())
    q, k, v = tokens(7), tokens(7), tokens(7)
    q, k, v = {"all": (q, q, q), "query and key": (q, q, v), "key and value": (q, k, k), "none": (q, k, v)}[same]
    padding = some_padding()
    close(ours(q, k, v), theirs(q, k, v, need_weights=False)[0])
    close(ours(q, k, v, ~padding[:, None, None]), theirs(q, k, v, key_padding_mask=padding)[0])


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(("activation", "norm_first"), SETTINGS)
def test_encoder_is_torchs(activation, norm_first, mode):
    layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, activation, batch_first=True, norm_first=norm_first)
    end = nn.LayerNorm(32) if norm_first else None
    theirs = randomise(nn.TransformerEncoder(layer, 2, end, enable_nested_tensor=False))
    ours = TransformerEncoder(32, heads=4, layers=2, hidden=64, activation=activation, norm_first=norm_first)
    ours.load_state_dict(theirs.state_dict())
    getattr(theirs, mode)(), getattr(ours, mode)()
    x, padding = tokens(7), some_padding()
    close(ours(x), theirs(x))
    close(ours(x, padding=padding)[~padding], theirs(x, src_key_padding_mask=padding)[~padding])


@pytest.mark.parametrize(("activation", "norm_first"), SETTINGS)
def test_decoder_is_torchs(activation, norm_first):
    layer = nn.TransformerDecoderLayer(32, 4, 64, 0.0, activation, batch_first=True, norm_first=norm_first)
    theirs = randomise(nn.TransformerDecoder(layer, 2, nn.LayerNorm(32)))
    ours = TransformerDecoder(32, heads=4, layers=2, hidden=64, activation=activation, norm_first=norm_first)
    ours.load_state_dict(theirs.state_dict())
    x, memory, padding = tokens(5), tokens(7), some_padding()
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    close(
        ours(x, memory, memory_padding=padding, causal=True),
        theirs(x, memory, tgt_mask=causal, memory_key_padding_mask=padding),
    )
    close(
        ours(x, memory, padding=padding[:, 2:]),
        theirs(x, memory, tgt_key_padding_mask=padding[:, 2:]),
    )


@pytest.mark.parametrize("norm_first", [False, True])
def test_positions_are_added_to_queries_and_keys_only(norm_first):
    """Each layer written out with torch's attention, in float64."""
    encoder = randomise(TransformerEncoder(32, heads=4, layers=2, hidden=64, norm_first=norm_first)).double()
    decoder = randomise(TransformerDecoder(32, heads=4, layers=2, hidden=64, norm_first=norm_first)).double()

    def attend(attention, q, k, v):
        theirs = nn.MultiheadAttention(32, 4, batch_first=True).double()
        theirs.load_state_dict(attention.state_dict())
        return theirs(q, k, v)[0]

    def branch(x, norm, f):
        return x + f(norm(x)) if norm_first else norm(x + f(x))

    def layer_by_hand(layer, x, positions, memory=None, memory_positions=None):
        x = branch(x, layer.norm1, lambda h: attend(layer.self_attn, h + positions, h + positions, h))
        last = layer.norm2
        if memory is not None:
            keys = memory + memory_positions
            x = branch(x, layer.norm2, lambda h: attend(layer.multihead_attn, h + positions, keys, memory))
            last = layer.norm3
        return branch(x, last, lambda h: layer.linear2(layer.linear1(h).relu()))

    x, positions = memory, memory_positions = tokens(7).double(), tokens(7, batch=1).double()
    for layer in encoder.layers:
        x = layer_by_hand(layer, x, positions)
    close(encoder(memory, memory_positions), encoder.norm(x))

    y, positions = tokens(5).double(), tokens(5).double()
    x = y
    for layer in decoder.layers:
        x = layer_by_hand(layer, x, positions, memory, memory_positions)
    close(decoder(y, memory, positions, memory_positions), decoder.norm(x))


def test_the_order_of_memory_and_what_padding_holds_make_no_difference():
    decoder = randomise(TransformerDecoder(32, heads=4, layers=2))
    encoder = randomise(TransformerEncoder(32, heads=4, layers=2))
    x, memory, positions, padding, order = tokens(5), tokens(7), tokens(7), some_padding(), torch.randperm(7)
    expected = decoder(x, memory, memory_positions=positions, memory_padding=padding)
    shuffled = decoder(x, memory[:, order], memory_positions=positions[:, order], memory_padding=padding[:, order])
    close(shuffled, expected)
    other = torch.where(padding[..., None], 1e3, memory)
    close(decoder(x, other, memory_positions=positions, memory_padding=padding), expected)
    close(encoder(other, padding=padding)[~padding], encoder(memory, padding=padding)[~padding])


@pytest.mark.parametrize("padding", [None, torch.tensor([[True, True, False, False, True]] * 3)])
def test_causal_tokens_see_no_later_token(padding):
    decoder, x, memory = randomise(TransformerDecoder(32, heads=4, layers=2)), tokens(5), tokens(7)
    later = torch.cat([x[:, :3], tokens(2)], dim=1)
    a, b = (decoder(t, memory, padding=padding, causal=True) for t in (x, later))
    close(a[:, :3], b[:, :3])
    assert not torch.allclose(a[:, 3:], b[:, 3:])


def test_nothing_but_padding_gives_no_nan():
    padding = some_padding()
    padding[2] = True
    encoder, decoder = TransformerEncoder(32, heads=4, layers=2), TransformerDecoder(32, heads=4, layers=2)
    x = tokens(7).requires_grad_()
    for causal in (False, True):
        out = decoder(x, encoder(x, padding=padding), padding=padding, memory_padding=padding, causal=causal)
        assert out.isfinite().all()
        assert torch.autograd.grad(out.sum(), x)[0].isfinite().all()


def test_every_weight_learns_and_dropout_is_for_training_only():
    encoder = TransformerEncoder(32, heads=4, layers=2, dropout=0.5)
    x, positions = tokens(7), tokens(7, batch=1)
    assert not torch.equal(encoder(x), encoder(x))
    encoder(x, positions).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))
    # Layers are no copies of each other.
    assert not torch.equal(encoder.layers[0].linear1.weight, encoder.layers[1].linear1.weight)


def test_mistakes_are_told():
    with pytest.raises(ValueError, match="width 30 does not divide into 4 heads"):
        TransformerEncoder(30, heads=4)
    with pytest.raises(ValueError, match="unknown activation 'tanh': choose one of relu, gelu"):
        TransformerDecoder(32, activation="tanh")
    with pytest.raises(ValueError, match=r"padding is torch.float32: give bool"):
        TransformerEncoder(32)(tokens(7), padding=torch.zeros(3, 7))


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = TransformerEncoder(32, heads=4, layers=2)
        self.decoder = TransformerDecoder(32, heads=4, layers=1)

    def forward(self, x, positions, padding, y):
        memory = self.encoder(x, positions, padding)
        out = self.decoder(y, memory, memory_positions=positions, memory_padding=padding, causal=True)
        return out + self.decoder(y, self.encoder(x), padding=padding[:, :5], causal=True)


def test_exports_with_any_batch(tmp_path):
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    both, batch = randomise(Both()).eval(), torch.export.Dim("batch")
    dynamic = ({0: batch}, None, {0: batch}, {0: batch})
    example = (tokens(7), tokens(7, batch=1), some_padding(), tokens(5))
    exported = torch.export.export(both, example, dynamic_shapes=dynamic).module()
    torch.onnx.export(both, example, tmp_path / "both.onnx", dynamo=True, dynamic_shapes=dynamic, verbose=False)
    session = ort.InferenceSession(tmp_path / "both.onnx")
    for rows in (1, 4):
        padding = torch.rand(rows, 7) < 0.4
        padding[0] = True
        inputs = tokens(7, rows), tokens(7, batch=1), padding, tokens(5, rows)
        names = [i.name for i in session.get_inputs()]
        (onnx,) = session.run(None, {n: t.numpy() for n, t in zip(names, inputs, strict=True)})
        close(exported(*inputs), both(*inputs))
        torch.testing.assert_close(torch.from_numpy(onnx), both(*inputs), rtol=0, atol=2e-5)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_what_is_not_computed_is_not_missed(norm_first, layers):
    x, positions = torch.randn(4, 9, 16), torch.randn(1, 9, 16)
    padding = torch.zeros(4, 9, dtype=torch.bool)
    padding[1, 5:] = True
    encoder = TransformerEncoder(16, heads=4, layers=layers, norm_first=norm_first)
    whole = encoder(x, positions, padding)
    torch.testing.assert_close(encoder(x, positions, padding, first=2), whole[:, :2], atol=2e-6, rtol=0)
    decoder = TransformerDecoder(16, heads=4, layers=layers, norm_first=norm_first)
    start, places = torch.randn(1, 5, 16), torch.randn(1, 5, 16)
    each = decoder(start.expand(4, -1, -1), x, places, positions)
    torch.testing.assert_close(decoder(start, x, places, positions), each, atol=2e-6, rtol=0)
