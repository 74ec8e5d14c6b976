"""ResNet-18 gives the features of torchvision's, and takes its weights from any file that holds them."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from reference import DATA, closed_form
from vaekit.errors import UserError
from vaekit.nets import RESNETS, ResNet


@pytest.fixture(scope="module")
def weights():
    return {name: closed_form(name, value.shape) for name, value in ResNet().state_dict().items()}


@pytest.mark.parametrize("frozen", [True, False])
def test_features_are_the_reference(weights, frozen):
    net = ResNet(frozen=frozen).eval()
    net.load_state_dict(weights, strict=frozen)
    reference = np.load(DATA / "lerobot_images_resnet18.io.npz")
    for i, camera in enumerate(("top", "wrist")):
        with torch.no_grad():
            features = net(torch.from_numpy(reference[f"in/observation.images.{camera}"]))
        torch.testing.assert_close(features, torch.from_numpy(reference[f"mid/cam_features_{i}"]), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(("height", "width"), [(64, 96), (33, 70), (1, 31)])
def test_sizes_and_what_learns(height, width):
    net = ResNet()
    before = [b.clone() for b in net.buffers()]
    out = net(torch.randn(2, 3, height, width))
    assert out.shape == (2, 512, math.ceil(height / 32), math.ceil(width / 32))
    out.square().sum().backward()
    assert len(list(net.parameters())) == 20  # convolutions: the stem, 16 in blocks, 3 in shortcuts
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))


@pytest.mark.parametrize(
    ("name", "count"),
    [("resnet18", 11_689_512), ("resnet34", 21_797_672), ("resnet50", 25_557_032), ("resnet101", 44_549_160)],
)
def test_parameters_are_as_many_as_published(name, count):
    with torch.device("meta"):
        net = ResNet(name, frozen=False)
    classes = 1000  # of the last layer, which is left out here
    assert sum(p.numel() for p in net.parameters()) + (net.features + 1) * classes == count
    assert net(torch.zeros(2, 3, 40, 64, device="meta")).shape == (2, net.features, 2, 2)


def test_a_bottleneck_has_its_stride_in_the_middle():
    net = ResNet("resnet50").layer2[0].eval()
    x = torch.randn(2, 256, 6, 6)
    h = F.relu(F.conv2d(x, net.conv1.weight))  # frozen norms with fresh weights change nothing but a rounding
    h = F.relu(F.conv2d(h, net.conv2.weight, stride=2, padding=1))
    expected = F.relu(F.conv2d(h, net.conv3.weight) + F.conv2d(x, net.downsample[0].weight, stride=2))
    torch.testing.assert_close(net(x), expected, rtol=1e-3, atol=1e-3)
    assert list(RESNETS) == ["resnet18", "resnet34", "resnet50", "resnet101"]


def test_names_are_torchvisions():
    names = list(ResNet(frozen=False).state_dict())
    assert len(names) == 120  # torchvision's resnet18 has 122 with fc.weight and fc.bias
    for name in ("conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer4.1.bn2.bias",
                 "layer2.0.downsample.0.weight", "layer3.0.downsample.1.num_batches_tracked"):  # fmt: skip
        assert name in names
    assert "layer1.0.downsample.0.weight" not in names


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "backbone.0.body.", "model.backbone."])
def test_weights_load_after_any_prefix(weights, prefix, frozen, tmp_path):
    tensors = {prefix + name: value for name, value in weights.items()}
    tensors |= {f"{prefix}fc.weight": torch.zeros(10, 512), f"{prefix}bn1.num_batches_tracked": torch.tensor(7)}
    tensors |= {"model.action_head.weight": torch.zeros(3, 4)}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save(tensors, tmp_path / "a.pth")
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "a.pt")
    for file in ("a.safetensors", "a.pth", "a.pt"):
        net = ResNet(frozen=frozen)
        net.load_weights(tmp_path / file)
        state = net.state_dict()
        assert all(torch.equal(state[name], value) for name, value in weights.items())


def test_mistakes_are_told(weights, tmp_path):
    net = ResNet()
    before = net.conv1.weight.clone()

    def told(tensors, message):
        torch.save(tensors, tmp_path / "a.pth")
        with pytest.raises(UserError, match=message):
            net.load_weights(tmp_path / "a.pth")

    lacking = {k: v for k, v in weights.items() if k not in ("layer2.0.conv1.weight", "bn1.bias")}
    told(lacking, r"a.pth lacks bn1.bias, layer2.0.conv1.weight of a resnet18")
    told({"weight": torch.zeros(3)}, r"lacks conv1.weight, bn1.weight, bn1.bias and 97 more tensors")
    told({**weights, "conv1.weight": torch.zeros(64, 1, 7, 7)}, r"holds conv1.weight in another shape")
    told([1, 2], r"holds a list: give a state dict")
    with pytest.raises(UserError, match=r"no weights at .*b\.pth"):
        net.load_weights(tmp_path / "b.pth")
    for name in ("c.pth", "c.safetensors"):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(UserError, match=name):
            net.load_weights(tmp_path / name)
    (tmp_path / "empty.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"cannot read .*empty.pth"):
        net.load_weights(tmp_path / "empty.pth")
    assert torch.equal(net.conv1.weight, before)
