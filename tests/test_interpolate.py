"""Paths against closed forms: circles, planes in polar coordinates; and what no path may break."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vaekit.errors import UserError
from vaekit.uses.interpolate import PATHS, energy, geodesic, linear, smoothness, spherical

numbers = st.floats(-100, 100).map(lambda v: round(v, 3))
pairs = st.integers(2, 5).flatmap(
    lambda d: st.tuples(*[st.lists(numbers, min_size=d, max_size=d).map(lambda v: torch.tensor(v).double())] * 2)
)


def identity(z):
    return z


def polar(z):
    """(r, angle) -> the plane."""
    return torch.stack([z[:, 0] * z[:, 1].cos(), z[:, 0] * z[:, 1].sin()], dim=1)


def angle_between(u, v):
    return math.atan2((u[0] * v[1] - u[1] * v[0]).item(), (u @ v).item())


@pytest.mark.parametrize("name", PATHS)
@given(ends=pairs, steps=st.integers(2, 9))
def test_ends_are_exact(name, ends, steps):
    a, b = ends
    path = PATHS[name](a, b, steps, identity)
    assert path.shape == (steps, len(a))
    assert torch.equal(path[0], a)
    assert torch.equal(path[-1], b)


@pytest.mark.parametrize("path", [linear, spherical])
@given(ends=pairs, steps=st.integers(2, 9))
def test_there_and_back_are_the_same_points(path, ends, steps):
    a, b = ends
    torch.testing.assert_close(path(b, a, steps).flip(0), path(a, b, steps), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("path", [linear, spherical])
@given(ends=pairs, seed=st.integers(0, 100))
def test_turning_the_ends_turns_the_path(path, ends, seed):
    a, b = ends
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(len(a), len(a), generator=generator, dtype=torch.float64)).Q
    if path is spherical and a.norm() * b.norm() > 0:
        cosine = (a @ b / (a.norm() * b.norm())).abs().item()
        if cosine > 1 - 1e-6:  # there rounding decides between the arc and the line
            return
    torch.testing.assert_close(path(a @ turn, b @ turn, 7), path(a, b, 7) @ turn, atol=1e-5, rtol=1e-6)


def test_line_is_even():
    a, b = torch.randn(2, 5, dtype=torch.float64)
    torch.testing.assert_close(linear(a, b, 6).diff(dim=0), ((b - a) / 5).expand(5, -1))


def test_spherical_turns_at_constant_speed_and_its_norm_is_even():
    a, b = torch.tensor([2.0, 0.0]).double(), 5 * torch.tensor([math.cos(2.0), math.sin(2.0)]).double()
    path = spherical(a, b, 9)
    turns = [angle_between(u, v) for u, v in pairwise(path)]
    assert turns == pytest.approx([2.0 / 8] * 8)
    torch.testing.assert_close(path.norm(dim=1), torch.linspace(2, 5, 9).double())


@pytest.mark.parametrize("b", [[0.0, 0.0], [3.0, 6.0], [-1.0, -2.0]])
def test_spherical_is_the_line_where_there_is_no_arc(b):
    a, b = torch.tensor([1.0, 2.0]).double(), torch.tensor(b).double()
    torch.testing.assert_close(spherical(a, b, 5), linear(a, b, 5))


def test_geodesic_of_a_linear_decoder_is_the_line():
    a, b = torch.randn(2, 3, dtype=torch.float64)
    W = torch.randn(3, 8, dtype=torch.float64)
    torch.testing.assert_close(geodesic(a, b, 7, lambda z: z @ W), linear(a, b, 7), atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_geodesic_in_polar_coordinates_is_the_chord_of_the_plane(dtype):
    a, b = torch.tensor([1.0, 0.0], dtype=dtype), torch.tensor([2.0, 2.0], dtype=dtype)
    decoded = polar(geodesic(a, b, 15, polar))
    ends = polar(torch.stack([a, b]))
    torch.testing.assert_close(decoded, linear(ends[0], ends[1], 15), atol=5e-3, rtol=0)
    assert smoothness(decoded)["detour"] == pytest.approx(1, abs=1e-3)
    assert smoothness(polar(linear(a, b, 15)))["detour"] > 1.1


def test_geodesic_on_a_sphere_is_a_great_circle():
    def sphere(z):  # latitude and longitude -> space
        north, east = z[:, 0], z[:, 1]
        return torch.stack([north.cos() * east.cos(), north.cos() * east.sin(), north.sin()], dim=1)

    a, b = torch.tensor([0.7, 0.0]).double(), torch.tensor([0.7, 2.0]).double()
    decoded = sphere(geodesic(a, b, 21, sphere))
    ends = sphere(torch.stack([a, b]))
    torch.testing.assert_close(decoded, spherical(ends[0], ends[1], 21), atol=5e-3, rtol=0)


@given(seed=st.integers(0, 20))
def test_geodesic_never_has_more_energy_than_the_line(seed):
    generator = torch.Generator().manual_seed(seed)
    W = 3 * torch.randn(2, 6, generator=generator, dtype=torch.float64)
    a, b = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    decode = lambda z: (z @ W).sin()  # noqa: E731
    assert energy(decode(geodesic(a, b, 6, decode))) <= energy(decode(linear(a, b, 6)))


def test_geodesic_keeps_to_the_line_where_the_decoder_breaks():
    a, b = torch.tensor([-1.0, 0.0]), torch.tensor([1.0, 1.0])
    assert torch.equal(geodesic(a, b, 5, lambda z: z.sqrt()), linear(a, b, 5))


def test_geodesic_works_where_gradients_are_off_and_leaves_weights_alone():
    decoder = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 5))
    with torch.no_grad():
        path = geodesic(torch.randn(2), torch.randn(2), 5, decoder)
    assert not path.requires_grad
    assert all(p.grad is None for p in decoder.parameters())


def test_smoothness_in_closed_form():
    half_circle = torch.linspace(0, math.pi, 1001).double()
    arc = smoothness(torch.stack([half_circle.cos(), half_circle.sin()], dim=1))
    assert arc == pytest.approx({"length": math.pi, "detour": math.pi / 2, "evenness": 1.0}, rel=1e-4)
    jump = torch.zeros(5, 1, 2)
    jump[3:] = 1.0
    assert smoothness(jump) == pytest.approx({"length": math.sqrt(2), "detour": 1.0, "evenness": 4.0})
    assert smoothness(torch.ones(4, 3)) == {"length": 0.0, "detour": 1.0, "evenness": 1.0}
    assert smoothness(torch.tensor([[0.0], [1.0], [0.0]]))["detour"] == math.inf


def test_what_is_missing_is_told():
    with pytest.raises(UserError, match="decode_mean"):
        geodesic(torch.zeros(2), torch.ones(2), 5)
    with pytest.raises(UserError, match="categories"):
        geodesic(torch.zeros(2), torch.ones(2), 5, lambda z: z.argmax(-1, keepdim=True).float())
    with pytest.raises(UserError, match="at least 2"):
        smoothness(torch.zeros(1, 3))
