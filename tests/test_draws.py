"""Drawing z: as the prior does, except that a component that is held is kept while it is likely."""

import torch

from vaekit.distributions import Mixture, Normal
from vaekit.robots.draws import KEPT, draw


def mixture(weights):
    """Four far-apart components, the same for each row: z tells which one it came from."""
    weights = torch.tensor(weights)
    loc = 10.0 * torch.arange(4.0)[None, :, None].expand(len(weights), 4, 2)
    return Mixture(weights.log(), loc, torch.full_like(loc, 0.1), len(weights))


def noise(seed):
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator)


def test_without_anything_held_it_is_a_sample_of_the_prior():
    prior = mixture([[0.1, 0.2, 0.3, 0.4]] * 5)
    z, component = draw(prior, noise(1))
    torch.testing.assert_close(z, prior.sample(1, noise(1))[0])
    assert (component == (z[:, 0] / 10).round()).all()
    normal = Normal(1, torch.zeros(5, 2), torch.ones(5, 2))
    z, component = draw(normal, noise(1), held=torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(z, normal.sample(1, noise(1))[0])
    assert component is None


def test_components_are_drawn_by_their_weights():
    _, component = draw(mixture([[0.1, 0.2, 0.3, 0.4]] * 20_000), noise(0))
    share = torch.bincount(component, minlength=4) / 20_000
    torch.testing.assert_close(share, torch.tensor([0.1, 0.2, 0.3, 0.4]), atol=0.015, rtol=0)  # over 4 standard errors


def test_a_component_is_kept_while_it_is_likely():
    held = torch.tensor([1, 1, 3, -1])
    low = 0.5 * KEPT * 0.5
    prior = mixture([[0.5, 0.3, 0.1, 0.1], [0.5, low, 0.5 - low, 0], [0.5, 0.2, 0.2, 0.1], [0, 0, 1, 0]])
    for seed in range(20):
        z, component = draw(prior, noise(seed), held=held)
        assert component[0] == 1
        assert component[1] in (0, 2)  # what was held has become unlikely
        assert component[2] == 3
        assert component[3] == 2  # nothing was held
        assert (component == (z[:, 0] / 10).round()).all()


def test_temperature_is_of_the_spread_within_a_component():
    prior = mixture([[0.25] * 4] * 50)
    z, component = draw(prior, noise(0), temperature=0.0)
    torch.testing.assert_close(z, 10.0 * component[:, None].expand(-1, 2))
    assert len(component.unique()) == 4
