"""ResNet-18 (He et al. 2015, arXiv 1512.03385) for the features of a camera's pictures."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.errors import UserError
from vaekit.files import read_tensors


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


class BasicBlock(nn.Module):
    """Two convolutions beside a shortcut: (B, in_channels, H, W) -> (B, channels, H / stride, W / stride)."""

    def __init__(self, in_channels: int, channels: int, stride: int, norm: type[nn.Module]):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = norm(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = norm(channels)
        self.downsample = (
            nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), norm(channels))
            if stride != 1 or in_channels != channels
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = self.bn2(self.conv2(h))
        return F.relu(h + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """Pictures (B, 3, H, W), as they are given -> features (B, 512, ceil(H / 32), ceil(W / 32)).

    Weights for ImageNet expect pictures normalised by its mean and deviation; nothing is normalised here. Tensors are
    named as torchvision's, without its last layer `fc`.

    Args:
        frozen: batch norms keep the statistics and weights they are given, so that small batches do not spoil them
            (as DETR and ACT). The convolutions learn either way.
    """

    def __init__(self, frozen: bool = True):
        super().__init__()
        norm: type[nn.Module] = FrozenBatchNorm2d if frozen else nn.BatchNorm2d
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(64)
        self.layer1 = nn.Sequential(BasicBlock(64, 64, 1, norm), BasicBlock(64, 64, 1, norm))
        self.layer2 = nn.Sequential(BasicBlock(64, 128, 2, norm), BasicBlock(128, 128, 1, norm))
        self.layer3 = nn.Sequential(BasicBlock(128, 256, 2, norm), BasicBlock(256, 256, 1, norm))
        self.layer4 = nn.Sequential(BasicBlock(256, 512, 2, norm), BasicBlock(512, 512, 1, norm))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))  # (B, 64, H/2, W/2)
        x = F.max_pool2d(x, 3, stride=2, padding=1)  # (B, 64, H/4, W/4)
        x = self.layer2(self.layer1(x))  # (B, 128, H/8, W/8)
        return self.layer4(self.layer3(x))  # (B, 512, H/32, W/32)

    def load_weights(self, path: str | Path) -> None:
        """Take the weights of a .safetensors, .pth or .pt file with torchvision's names, after any common prefix.

        What else the file holds (`fc`, the rest of a policy) is passed over. Raises UserError where the file cannot be
        read, or lacks a tensor, or holds it in another shape.
        """
        tensors, own = read_weights(Path(path)), self.state_dict()
        names = [name for name in own if not name.endswith("num_batches_tracked")]
        # Of all that stands before a "conv1.weight", the network's own prefix is the one most names follow.
        prefixes = [key.removesuffix("conv1.weight") for key in tensors if key.endswith("conv1.weight")]
        prefix = max(prefixes, key=lambda p: sum(p + name in tensors for name in names), default="")
        missing = [name for name in names if prefix + name not in tensors]
        if missing:
            raise UserError(
                f"{path} lacks {some(missing)} of a ResNet-18: give a file with torchvision's names for resnet18"
            )
        wrong = [name for name in names if tensors[prefix + name].shape != own[name].shape]
        if wrong:
            raise UserError(f"{path} holds {some(wrong)} in another shape than a ResNet-18: give a file of resnet18")
        self.load_state_dict({name: tensors[prefix + name] for name in names}, strict=False)


def some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more tensors" if len(names) > 3 else "")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file or a torch checkpoint, there also under "state_dict" or "model"."""
    if not path.is_file():
        raise UserError(f"no weights at {path}: check the path")
    if path.suffix == ".safetensors":
        return read_tensors(path)[0]
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
