"""Networks: tensors in, tensors out, sized from the shapes they are given.

Every network is built as `Network(in_shape, out_shape, condition_features=0)` and called as `net(x)` or, when
`condition_features` is not 0, `net(x, c)`: x (B, *in_shape), c (B, condition_features) -> (B, *out_shape).
"""

from vaekit.nets.condition import ConditionEmbedding
from vaekit.nets.conv import ConvDecoder, ConvEncoder
from vaekit.nets.mlp import MLP

__all__ = ["MLP", "ConditionEmbedding", "ConvDecoder", "ConvEncoder"]
