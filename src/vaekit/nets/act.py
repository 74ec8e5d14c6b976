"""The networks of ACT (Zhao et al. 2023, arXiv 2304.13705): observations -> tokens -> a chunk of actions.

    y  joints ("state"), objects ("environment_state"), cameras ("images.NAME"); at least one of them
    x  the actions that follow, (B, actions, time)
    z  the way it is done

`Observation` is the condition, `ActionEncoder` the encoder (training only), `ActionDecoder` the decoder of a `LatentModel`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.nets.positions import PositionEmbeddingSine, sinusoid_table
from vaekit.nets.resnet import ResNet
from vaekit.nets.transformer import TransformerDecoder, TransformerEncoder

STRIDE = 32  # of the backbone: a token is this many pixels wide
PICTURE_MEAN, PICTURE_SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, what backbones are trained on


class Observation(nn.Module):
    """y -> the networks' inputs by name: vectors as they are, and "pictures", the tokens of all cameras.

    Args:
        vectors: name -> length; for a label, its number of classes.
        cameras: name -> (height, width).
        width: features of a token.
        backbones: one for each camera, or one for all cameras, as in the published code.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        vectors: Mapping[str, int],
        cameras: Mapping[str, tuple[int, int]],
        width: int,
        backbones: Sequence[ResNet] = (),
    ):
        super().__init__()
        self.vectors, self.cameras = dict(vectors), dict(cameras)
        self.backbones = nn.ModuleList(backbones)
        self.project = nn.Conv2d(backbones[0].features, width, 1) if cameras else None
        if cameras:  # of each camera: (cameras, 3, 1, 1)
            self.register_buffer("mean", torch.tensor(PICTURE_MEAN).reshape(3, 1, 1).repeat(len(cameras), 1, 1, 1))
            self.register_buffer("scale", torch.tensor(PICTURE_SCALE).reshape(3, 1, 1).repeat(len(cameras), 1, 1, 1))

    def forward(self, y: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
        """Vectors (B, length), or codes (B,) of labels, pictures uint8 (B, height, width, 3), or floats (B, 3, height, width) that
        enter as they are -> vectors, and pictures (B, tokens, width)."""
        seen = {name: one_hot(y[name], size) if y[name].ndim == 1 else y[name] for name, size in self.vectors.items()}
        if self.project is not None:
            maps = []
            for i, name in enumerate(self.cameras):
                backbone = self.backbones[i % len(self.backbones)]
                maps.append(self.project(backbone(self.pixels(y[name], i))).flatten(2))  # (B, width, h * w)
            seen["pictures"] = torch.cat(maps, dim=2).transpose(1, 2)  # (B, tokens, width)
        return seen

    def pixels(self, picture: Tensor, camera: int) -> Tensor:
        if picture.dtype != torch.uint8:
            return picture
        x = picture.permute(0, 3, 1, 2) / 255  # (B, 3, height, width)
        return (x - self.mean[camera]) / self.scale[camera]


def one_hot(codes: Tensor, size: int) -> Tensor:
    """Codes (B,) -> (B, size). Unlike PyTorch's it does not depend on values, so that it can be exported."""
    return (codes.unsqueeze(1) == torch.arange(size, device=codes.device)).float()


class ActionEncoder(nn.Module):
    """The network of q(z|x,y). It sees tokens [CLS, vectors of y, actions], and CLS is read. It does not see pictures.

    Args:
        actions, chunk_size: numbers in an action, and actions in a chunk.
        features: numbers in the output.
        vectors: name -> length of the vectors of y that it sees.
        width, heads, layers, hidden, dropout, activation, norm_first: of the transformer.
    """

    sees_mask = True

    def __init__(
        self,
        actions: int,
        chunk_size: int,
        features: int,
        vectors: Mapping[str, int],
        width: int,
        *,
        heads: int = 8,
        layers: int = 4,
        hidden: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm_first: bool = False,
    ):
        super().__init__()
        self.cls = nn.Parameter(torch.randn(1, 1, width))
        self.vectors = nn.ModuleDict({name: nn.Linear(size, width) for name, size in vectors.items()})
        self.action = nn.Linear(actions, width)
        self.transformer = TransformerEncoder(
            width,
            heads=heads,
            layers=layers,
            hidden=hidden,
            dropout=dropout,
            activation=activation,
            norm_first=norm_first,
        )
        self.head = nn.Linear(width, features)
        table = sinusoid_table(1 + len(vectors) + chunk_size, width)
        self.register_buffer("positions", table.unsqueeze(0), persistent=False)  # (1, tokens, D)

    def forward(self, x: Tensor, c: Mapping[str, Tensor], mask: Tensor | None = None) -> Tensor:
        """x and mask (B, actions, chunk_size), True where observed -> (B, features)."""
        known = [self.cls.expand(x.shape[0], -1, -1)]  # (B, 1, D)
        known += [project(c[name]).unsqueeze(1) for name, project in self.vectors.items()]  # (B, 1, D) each
        tokens = torch.cat([*known, self.action(x.transpose(1, 2))], dim=1)  # (B, tokens, D)
        padding = None if mask is None else F.pad(~mask[:, 0], (len(known), 0))  # (B, tokens), False for what is known
        return self.head(self.transformer(tokens, self.positions, padding, first=1)[:, 0])  # (B, features)


class ActionDecoder(nn.Module):
    """z and y -> a chunk: an encoder over tokens [z, vectors, pictures], and a decoder whose queries are the time steps.

    Args:
        latent_dim, actions, chunk_size: sizes; with a latent_dim of 0 it is the same network without z.
        vectors: name -> length.
        cameras: name -> (height, width), which decide the positions of their tokens.
        width, heads, layers, decoder_layers, hidden, dropout, activation, norm_first: of the transformers.
    """

    picture_positions: Tensor

    def __init__(
        self,
        latent_dim: int,
        actions: int,
        chunk_size: int,
        vectors: Mapping[str, int],
        cameras: Mapping[str, tuple[int, int]],
        width: int,
        *,
        heads: int = 8,
        layers: int = 4,
        decoder_layers: int = 1,
        hidden: int | None = None,
        dropout: float = 0.0,
        activation: str = "relu",
        norm_first: bool = False,
    ):
        super().__init__()
        options = dict(heads=heads, hidden=hidden, dropout=dropout, activation=activation, norm_first=norm_first)
        self.latent = nn.Linear(latent_dim, width)
        self.vectors = nn.ModuleDict({name: nn.Linear(size, width) for name, size in vectors.items()})
        self.token_positions = nn.Parameter(torch.randn(1, 1 + len(vectors), width))  # (1, z and vectors, D)
        self.queries = nn.Parameter(torch.randn(1, chunk_size, width))  # (1, S, D)
        self.encoder = TransformerEncoder(width, layers=layers, **options)  # type: ignore[arg-type]
        self.decoder = TransformerDecoder(width, layers=decoder_layers, **options)  # type: ignore[arg-type]
        self.head = nn.Linear(width, actions)
        for p in [*self.encoder.parameters(), *self.decoder.parameters()]:
            if p.ndim > 1:
                nn.init.xavier_uniform_(p)
        sine = PositionEmbeddingSine(width // 2, normalize=True)
        grids = [sine.grid(math.ceil(h / STRIDE), math.ceil(w / STRIDE)).flatten(2) for h, w in cameras.values()]
        places = torch.cat(grids, dim=2).transpose(1, 2) if grids else torch.zeros(1, 0, width)
        self.register_buffer("picture_positions", places, persistent=False)  # (1, tokens of pictures, D)

    def forward(self, z: Tensor, c: Mapping[str, Tensor]) -> Tensor:
        """z (B, latent_dim), c as of `Observation` -> (B, actions, chunk_size)."""
        tokens = [self.latent(z).unsqueeze(1)]  # (B, 1, D)
        tokens += [project(c[name]).unsqueeze(1) for name, project in self.vectors.items()]  # (B, 1, D) each
        if "pictures" in c:
            tokens.append(c["pictures"])  # (B, tokens of pictures, D)
        positions = torch.cat([self.token_positions, self.picture_positions], dim=1)  # (1, T, D)
        memory = self.encoder(torch.cat(tokens, dim=1), positions)  # (B, T, D)
        # All rows start from the same zeros, so one row is enough for the self-attention over them.
        start = torch.zeros_like(self.queries)  # (1, S, D)
        h = self.decoder(start, memory, positions=self.queries, memory_positions=positions)  # (B, S, D)
        return self.head(h).transpose(1, 2)  # (B, actions, S)
