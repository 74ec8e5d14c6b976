"""Networks: tensors in, tensors out, sized from the shapes they are given.

`MLP`, `ConvEncoder` and `ConvDecoder` are built as `Network(in_shape, out_shape, condition_features=0)` and called as
`net(x)` or, when `condition_features` is not 0, `net(x, c)`: x (B, *in_shape), c (B, condition_features) ->
(B, *out_shape). Each other network says how it is built and called.
"""

from vaekit.nets.condition import ConditionEmbedding
from vaekit.nets.conv import ConvDecoder, ConvEncoder
from vaekit.nets.mlp import MLP
from vaekit.nets.positions import PositionEmbeddingLearned, PositionEmbeddingSine
from vaekit.nets.resnet import RESNETS, ResNet
from vaekit.nets.transformer import TransformerDecoder, TransformerEncoder

__all__ = [
    "MLP",
    "RESNETS",
    "ConditionEmbedding",
    "ConvDecoder",
    "ConvEncoder",
    "PositionEmbeddingLearned",
    "PositionEmbeddingSine",
    "ResNet",
    "TransformerDecoder",
    "TransformerEncoder",
]
