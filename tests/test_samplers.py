"""Samplers that are learned after training, against codes whose distribution is known; and the other structures, as a
user meets them."""

import math
import time
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import vaekit as vk
from conftest import assert_same, kill, start, vaekit, weights, write_settings
from vaekit.distributions import Normal
from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.distributions.priors import ConditionalNormalPrior, FlowPrior, MixturePrior
from vaekit.model import LatentModel
from vaekit.nets import ConditionEmbedding
from vaekit.training import Data
from vaekit.uses.samplers import Codes, fit_sampler, gain

CENTRES = torch.tensor([[-3.0, 0.0], [3.0, 2.0], [0.0, -3.0]])


def grouped(n):
    """Codes in three groups, told apart by a label: z ~ N(centre of the label, 0.3^2)."""
    label = torch.randint(0, 3, (n,))
    return CENTRES[label] + 0.3 * torch.randn(n, 2), label


def model(condition=None):
    features = condition.features if condition else 0
    encoder = nn.Linear(2, 4) if not condition else nn.Bilinear(2, features, 4)
    return LatentModel(encoder, nn.Linear(2, 2), NormalLikelihood((2,)), latent_dim=2, condition=condition)


def exact(rows: Data) -> Normal:
    """The codes are the rows."""
    return Normal(1, rows.x, torch.full_like(rows.x, 1e-3))


SMALL_FLOW = partial(FlowPrior, transforms=3, hidden=(32,))


@pytest.mark.parametrize(("build", "rows", "short"), [(MixturePrior, 4000, 0.25), (SMALL_FLOW, 2000, 0.1)])
def test_a_sampler_learns_where_codes_lie(build, rows, short):
    """A crescent: z1 ~ N(0, 1), z2 ~ N(z1^2 - 1, 0.3^2)."""

    def crescent(n):
        z = torch.randn(n, 2)
        return torch.stack([z[:, 0], z[:, 0] ** 2 - 1 + 0.3 * z[:, 1]], dim=1)

    x, some = crescent(rows), rows * 9 // 10
    sampler = fit_sampler(model(), build, Data(x[:some]), Data(x[some:]), exact, seed=0)
    z = sampler(None, 4000).sample(1)[0]
    assert (z[:, 1] - z[:, 0] ** 2 + 1).abs().lt(1.2).float().mean() > 0.95  # four standard deviations
    assert z[:, 0].std().item() == pytest.approx(1, abs=0.1)
    # Its likelihood comes near the truth's, which is minus the entropy of the two Normals.
    truth = -0.5 * (2 * math.log(2 * math.pi * math.e) + 2 * math.log(0.3))
    assert sampler(None, 4000).log_prob(crescent(4000)).mean().item() == pytest.approx(truth, abs=short)


@pytest.mark.parametrize("build", [partial(MixturePrior, components=5), SMALL_FLOW])
def test_given_a_label_it_draws_of_that_label(build):
    condition = ConditionEmbedding({"label": 3})
    x, label = grouped(2000)
    rows = Data(x, None, {"label": label})
    before = {k: v.clone() for k, v in condition.state_dict().items()}
    sampler = fit_sampler(model(condition), build, rows[:1800], rows[slice(1800, None)], exact, seed=0)
    asked = torch.arange(3).repeat_interleave(500)
    z = sampler(condition({"label": asked}, 1500), 1500).sample(1)[0]
    assert (torch.cdist(z, CENTRES).argmin(1) == asked).float().mean() > 0.95
    assert all(torch.equal(v, before[k]) for k, v in condition.state_dict().items())  # the model itself is not touched


def test_on_a_gpu_the_condition_goes_where_the_codes_go():
    """As on a GPU, tensors of two devices do not mix; the model's own condition stays where it is."""
    condition = ConditionEmbedding({"label": 3}, {"pose": 2})
    codes = Codes(ConditionalNormalPrior(2, condition.features), condition).to("meta")
    y = {"label": torch.zeros(5, dtype=torch.int64, device="meta"), "pose": torch.zeros(5, 2, device="meta")}
    for known in (y, {"pose": y["pose"]}, None):
        assert codes.draw(torch.ones(5, 2, 2, device="meta"), known).log_pz.device.type == "meta"
    assert {p.device.type for p in condition.parameters()} == {"cpu"}
    assert not any(p.requires_grad for p in codes.condition.parameters())


def test_estimators_learn_keep_and_name_samplers(tmp_path, digits):
    images, labels = digits
    cvae = vk.CVAE(4, network="mlp", size="small", epochs=5, sampler="prior").fit(images, labels)
    with pytest.raises(vk.UserError, match=r"has not been learned: call fit_sampler\('flow', X\)"):
        cvae.sample(3, sampler="flow")
    with pytest.raises(vk.UserError, match=r"'flwo'.*did you mean 'flow'"):
        cvae.fit_sampler("flwo", images, labels)
    prior = cvae.sample(20, y=3, random_state=1)
    cvae.fit_sampler({"name": "gmm", "components": 7}, images, labels)
    assert np.array_equal(cvae.sample(20, y=3, random_state=1), prior)  # the estimator's own way stays as it was
    again = vk.load(cvae.save(tmp_path / "run"))
    assert np.array_equal(
        again.sample(20, y=3, sampler="gmm", random_state=1), cvae.sample(20, y=3, sampler="gmm", random_state=1)
    )
    path = tmp_path / "run" / "sampler-gmm.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(vk.UserError, match="sampler-gmm"):
        vk.load(tmp_path / "run")


@pytest.mark.parametrize("structure", ["ladder", "vq"])
def test_other_structures_from_the_command_line(tmp_path, structure):
    """Killed while it writes checkpoints it resumes to the same bits; and every verb works on it."""
    config = write_settings(tmp_path / "settings.yaml")
    narrow = {"ladder": ["--structure.latent-channels", 2], "vq": ["--structure.codes", 8, "--structure.side", 2]}
    fit = ["fit", "digits", "--condition", "label", "--structure", structure, "--structure.width", 8]
    fit += [*narrow[structure], "--epochs", 3, "--config", config]
    vaekit(*fit, "--out", tmp_path / "whole", "--no-report", check=0)
    run = tmp_path / "killed"
    process = start(*fit, "--no-report", "--out", run)
    while not (run / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.1)
    kill(process)
    vaekit("fit", "--resume", "--out", run, check=0)
    assert_same(weights(tmp_path / "whole"), weights(run))
    assert_same(load_file(tmp_path / "whole/model.safetensors"), load_file(run / "model.safetensors"))
    assert (run / "report.html").stat().st_size > 10_000
    vaekit("sample", run, "-n", 4, "-c", 3, "-o", tmp_path / "s.png", check=0)
    vaekit("reconstruct", run, "digits[:4]", "-o", tmp_path / "r.png", check=0)
    vaekit("score", run, "digits[:4]", "--score", "loglik", "--k", 5, "-o", tmp_path / "s.csv", check=0)
    said = vaekit(
        "interpolate", run, "digits[0]", "digits[1]", "--path", "spherical", "-o", tmp_path / "i.png", check=0
    )
    assert "times as much as along a straight line" in said.stderr
    said = vaekit("sample", run, "--sampler", "flow", check=2).stderr
    assert "use sampler 'prior'" in said
    assert len(said.splitlines()) <= 2


def test_what_is_of_flat_models_is_refused_with_the_options_there_are(digits):
    for settings, word in (
        ({"prior": "flow"}, "prior belongs to structure 'flat'.*width, blocks, latent_channels"),
        ({"latent_dim": 3}, "latent_dim belongs to structure 'flat'"),
        ({"sampler": "flow"}, "leave sampler out"),
        ({"structure": {"name": "ladder", "widht": 8}}, "did you mean 'width'"),
    ):
        with pytest.raises(vk.UserError, match=word):
            vk.VAE(**{"structure": "ladder", **settings}).fit(digits[0])


def test_a_mixture_fits_codes_of_few_rows_and_of_units_out_of_use():
    """Of 16 units two are in use, the others are as wide as the prior: a mixture of few rows comes near the truth, and what it gains
    on held-out rows tells a hole that the prior does not know from none."""
    plain = LatentModel(nn.Linear(16, 32), nn.Linear(16, 16), NormalLikelihood((16,)), latent_dim=16)

    def posterior(rows):
        used = torch.arange(16) < 2
        return Normal(1, torch.where(used, rows.x, 0.0), torch.where(used, 0.1, 1.0).expand_as(rows.x))

    sides = torch.randn(700, 16).sign() + 0.1 * torch.randn(700, 16)  # four corners, and nothing between them
    for x, better in ((sides, True), (torch.randn(700, 16) * 0.99**0.5, False)):
        train, valid = Data(x[:600]), Data(x[600:])
        more, error = gain(plain, fit_sampler(plain, MixturePrior, train, valid, posterior, 0), valid, posterior, 0)
        assert (more > 2 * error) == better
        assert more > (
            1.2 if better else -0.3
        )  # of the log 4 + 2 log(1 / 0.2) - ... there is to gain; and little is lost


@pytest.mark.parametrize(
    ("rows", "said"), [(300, "does not fit the codes of held-out rows better"), (8, "too few rows were held out")]
)
def test_where_the_prior_is_as_good_samples_come_from_it_and_a_note_says_so(rows, said):
    x = np.random.default_rng(0).normal(size=(rows, 3))  # there is nothing to learn of it
    vae = vk.VAE(2, size="small", epochs=1)
    with pytest.warns(vk.errors.Note, match=said):
        vae.fit(x)
    assert any(said in text for text in vae.notes_)
    np.testing.assert_array_equal(vae.sample(5, random_state=1), vae.sample(5, sampler="prior", random_state=1))
