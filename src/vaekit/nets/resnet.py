"""ResNets (He et al. 2015, arXiv 1512.03385) for the features of a camera's pictures."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.errors import UserError
from vaekit.files import read_safetensors


class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation (B, C, H, W) with the statistics and weights it was given: nothing here learns."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int):
        super().__init__()
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=1e-5)


class Block(nn.Module):
    """Convolutions beside a shortcut: (B, in_channels, H, W) -> (B, growth * channels, H / stride, W / stride)."""

    growth: int
    downsample: nn.Module | None

    def shortcut(self, in_channels: int, channels: int, stride: int, norm: type[nn.Module]) -> nn.Module | None:
        """Brings x to the shape of the output; None if x has it."""
        if stride == 1 and in_channels == self.growth * channels:
            return None
        out_channels = self.growth * channels
        return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), norm(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + (x if self.downsample is None else self.downsample(x)))

    def branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class BasicBlock(Block):
    """Two convolutions of 3x3, of ResNet-18 and 34."""

    growth = 1

    def __init__(self, in_channels: int, channels: int, stride: int, norm: type[nn.Module]):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = norm(channels)
        self.downsample = self.shortcut(in_channels, channels, stride, norm)

    def branch(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))


class Bottleneck(Block):
    """A convolution of 3x3 between two of 1x1, of ResNet-50 and 101. As in torchvision, the 3x3 one has the stride."""

    growth = 4

    def __init__(self, in_channels: int, channels: int, stride: int, norm: type[nn.Module]):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = norm(channels)
        self.conv3 = nn.Conv2d(channels, self.growth * channels, 1, bias=False)
        self.bn3 = norm(self.growth * channels)
        self.downsample = self.shortcut(in_channels, channels, stride, norm)

    def branch(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        return self.bn3(self.conv3(F.relu(self.bn2(self.conv2(h)))))


RESNETS: dict[str, tuple[type[BasicBlock | Bottleneck], tuple[int, ...]]] = {  # blocks of each of the four layers
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


class ResNet(nn.Module):
    """A ResNet without its last layer: pictures (B, 3, H, W) -> features (B, features, ceil(H / 32), ceil(W / 32)).

    Weights for ImageNet expect pictures normalised by its mean and deviation; nothing is normalised here. Tensors are
    named as torchvision's.

    Args:
        name: "resnet18", "resnet34", "resnet50" or "resnet101".
        frozen: batch norms keep the statistics and weights they are given, so that small batches do not spoil them
            (as DETR and ACT). The convolutions learn either way.

    Attributes:
        features: channels of the output, 512 or 2048.

    Source: He et al. 2015, arXiv 1512.03385.

    Example:
        >>> from vaekit.nets import ResNet
        >>> ResNet("resnet18")(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 512, 2, 2])
    """

    def __init__(self, name: str = "resnet18", *, frozen: bool = True):
        super().__init__()
        self.name = name
        norm: type[nn.Module] = FrozenBatchNorm2d if frozen else nn.BatchNorm2d
        block, counts = RESNETS[name]
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(64)

        def layer(i: int) -> nn.Sequential:
            channels = 64 * 2**i
            before = 64 if i == 0 else block.growth * channels // 2
            first = block(before, channels, 1 if i == 0 else 2, norm)
            rest = (block(block.growth * channels, channels, 1, norm) for _ in range(counts[i] - 1))
            return nn.Sequential(first, *rest)

        self.layer1, self.layer2, self.layer3, self.layer4 = map(layer, range(4))
        self.features = 512 * block.growth
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))  # (B, 64, H/2, W/2)
        x = F.max_pool2d(x, 3, stride=2, padding=1)  # (B, 64, H/4, W/4)
        x = self.layer2(self.layer1(x))  # (B, features/4, H/8, W/8)
        return self.layer4(self.layer3(x))  # (B, features, H/32, W/32)

    def load_weights(self, path: str | Path) -> None:
        """Take the weights of a .safetensors, .pth or .pt file with torchvision's names, after any common prefix.

        The other tensors of the file (`fc`, the rest of a policy) are ignored.

        Raises:
            UserError: the file cannot be read, lacks a tensor, or holds it in another shape.
        """
        tensors, own = read_weights(Path(path)), self.state_dict()
        names = [name for name in own if not name.endswith("num_batches_tracked")]
        # Several prefixes may stand before a "conv1.weight". The network's own is the one that most names follow.
        prefixes = [key.removesuffix("conv1.weight") for key in tensors if key.endswith("conv1.weight")]
        prefix = max(prefixes, key=lambda p: sum(p + name in tensors for name in names), default="")
        missing = [name for name in names if prefix + name not in tensors]
        if missing:
            raise UserError(
                f"{path} lacks {some(missing)} of a {self.name}: give a file with torchvision's names for {self.name}"
            )
        wrong = [name for name in names if tensors[prefix + name].shape != own[name].shape]
        if wrong:
            raise UserError(
                f"{path} holds {some(wrong)} in another shape than a {self.name}: give a file of {self.name}"
            )
        self.load_state_dict({name: tensors[prefix + name] for name in names}, strict=False)


def backbones(
    name: str,
    cameras: int,
    *,
    weights: str = "",
    norm: Literal["auto", "frozen", "live"] = "auto",
    shared: bool = False,
) -> list[ResNet]:
    """Make a fresh network for each camera. The file that `weights` names is not read here.

    Args:
        weights: the file whose weights they are going to have, "" for none.
        norm: batch norms are "frozen", or "live" and learn; "auto" freezes those that come with weights. Frozen norms of
            fresh weights do not normalise anything, and pictures are hardly told apart.
        shared: one network for all cameras.
    """
    frozen = bool(weights) if norm == "auto" else norm == "frozen"
    return [ResNet(name, frozen=frozen) for _ in range(min(cameras, 1) if shared else cameras)]


def some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more tensors" if len(names) > 3 else "")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or a torch checkpoint, there also under "state_dict" or "model"."""
    if not path.is_file():
        raise UserError(f"no weights at {path}: check the path")
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as e:
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise UserError(f"cannot read {path} as torch weights ({reason}): give a state dict or .safetensors") from e
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a {type(content).__name__}: give a state dict, as torch.save(net.state_dict())")
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}
