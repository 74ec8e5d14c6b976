"""A captured step is the step, to the bit, or it is not captured. More of it, on another device, is in test_devices.py."""

import numpy as np
import pytest
import torch
from torch import nn

import vaekit as vk
from conftest import assert_same
from vaekit.distributions.likelihoods import NormalLikelihood
from vaekit.errors import UserError, kept_notes
from vaekit.objectives import ELBO
from vaekit.training import Data, Training, fit
from vaekit.training.alone import Alone
from vaekit.training.capture import Capture, Recorder, impure
from vaekit.training.data import epoch_order
from vaekit.training.meter import Pace

ROWS = np.random.default_rng(0).normal(size=(200, 6))
SMALL = {"size": "small", "epochs": 3, "batch_size": 32, "sampler": "prior"}


def trained(make, capture, *data):
    with kept_notes() as notes:
        fitted = make(capture).fit(*data)
    history = [{k: v for k, v in row.items() if k != "seconds"} for row in fitted.history_]
    return history, fitted.model_.state_dict(), " ".join(notes)


def assert_captured(make, *data):
    history, weights, _ = trained(make, "never", *data)
    captured_history, captured, notes = trained(make, "always", *data)
    assert "captured" not in notes
    assert history == captured_history
    assert_same(weights, captured)


def vae(**settings):
    return lambda capture: vk.VAE(3, **{**SMALL, **settings}, random_state=0, trainer={"capture": capture})


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_rows_are_captured(precision):
    def make(capture):
        return vk.VAE(3, **SMALL, random_state=0, trainer={"capture": capture, "precision": precision})

    assert_captured(make, ROWS)


def test_tables_with_gaps_and_conditions_are_captured():
    import pandas as pd

    table = pd.DataFrame({"a": ROWS[:, 0], "b": np.where(ROWS[:, 1] > 0, "x", "y"), "c": ROWS[:, 2]})
    table.loc[::7, "a"] = np.nan
    assert_captured(vae(), table)
    assert_captured(vae(), table, np.where(ROWS[:, 3] > 0, "left", "right"))


def test_pictures_in_black_and_white_are_captured(digits):
    images, labels = digits
    assert_captured(vae(kind={"binarize": "dynamic"}, prior="flow"), images[:200], labels[:200])


def test_series_are_captured():
    assert_captured(
        lambda c: vk.SeriesVAE(window=16, size="small", epochs=2, batch_size=8, random_state=0, trainer={"capture": c}),
        np.sin(np.arange(400)[:, None] / [3, 5]) + 0.1 * np.random.default_rng(0).normal(size=(400, 2)),
    )


def test_texts_are_captured_by_their_lengths():
    texts = [
        " ".join(["a", "cat", "sat", "on", "the", "mat", "and", "saw", "a", "dog"][: 1 + i % 9]) for i in range(200)
    ]
    assert_captured(vae(epochs=12), texts)


def test_few_labels_say_why_they_are_not():
    def make(capture):
        return vk.SemiSupervisedVAE(
            3, size="small", epochs=2, batch_size=32, random_state=0, trainer={"capture": capture}
        )

    labels = np.where(np.arange(200) < 40, ROWS[:, 0] > 0, -1).astype(int)
    history, weights, _ = trained(make, "never", ROWS, labels)
    other, same, notes = trained(make, "always", ROWS, labels)
    assert "steps were not captured" in notes
    assert "depends on the data" in notes
    assert history == other
    assert_same(weights, same)


# -- what must not be replayed -----------------------------------------------------------------------------------------


def recordings(step, times=2):
    found = []
    for _ in range(times):
        with Recorder() as recorder:
            step()
        found.append(recorder)
    return found


def problem(step):
    first, second = recordings(step)
    return first.problem or second.differs(first)


x, y = torch.arange(6.0), torch.zeros(6)


def test_a_replay_does_what_was_recorded_on_what_is_there_now():
    y.zero_()
    recorder, _ = recordings(lambda: y.add_(x.sin().split(3)[1].sum() * 2))
    expected = y + x.add(1)[3:].sin().sum() * 2
    x.add_(1)
    recorder.replay()()
    torch.testing.assert_close(y, expected)
    x.sub_(1)


def test_memory_is_freed_where_the_step_frees_it():
    """Were it not, the replay would hold what 2000 lines made: 8 GB."""
    import resource

    big = torch.zeros(1_000_000)

    def step():
        t = big + 1
        for _ in range(2000):
            t = t + 1
        big.copy_(t * 0)

    recorder, _ = recordings(step)
    recorder.replay()()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4_000_000  # KiB


def test_a_gradient_is_taken_over_and_not_copied():
    w = torch.ones(3, requires_grad=True)

    def step():
        w.grad = None
        (w * w).sum().backward()

    (recorder, _) = recordings(step)
    assert not any("copy_" in recorder.spelled(line) or "clone" in recorder.spelled(line) for line in recorder.lines)


counts = iter(range(1000))


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (lambda: y.copy_(x[x > 2].sum()), "depends on the data"),
        (lambda: y.mul_(2.0 if x.sum() > 3 else 1.0), "depends on the data"),
        (lambda: y.add_(next(counts)), "the next one"),
        (lambda: [y.add_(1) for _ in range(next(counts) % 2)], "operations, and the next one"),
        (lambda: y.add_(torch.tensor([float(next(counts))])), "another value at each step"),
        (
            lambda: y.copy_(torch.stack([torch.tensor(float(next(counts))) for _ in range(6)])),
            "another value at each step",
        ),
        (lambda: y.add_(nn.Parameter(x.sin() * x.add_(0.1)).detach()), "another value at each step"),
        (lambda: y.add_(torch.from_numpy(np.random.default_rng().random(6))), "another value at each step"),
    ],
)
def test_what_differs_from_step_to_step_is_found(step, why):
    assert why in problem(step)


def test_steps_that_draw_are_drawn_anew():
    generator = torch.Generator()
    out = torch.zeros(4)

    def step():
        out.copy_(torch.randn(4, generator=generator) + torch.rand(4))

    recorder, _ = recordings(step)
    replay = recorder.replay()
    found = []
    for do in (step, replay, replay):
        generator.manual_seed(3)
        torch.manual_seed(len(found) // 2)
        do()
        found.append(out.clone())
    assert found[0].equal(found[1])
    assert not found[1].equal(found[2])


def test_a_step_is_run_until_it_is_known_and_replayed_from_then_on():
    calls = []
    captured = Capture(lambda: (calls.append(1), y.add_(1)), torch.Generator())
    y.zero_()
    for _ in range(10):
        captured()
    assert y.tolist() == [10.0] * 6
    assert len(calls) == 3
    assert captured.problem is None


def test_only_networks_of_our_own_are_captured_unasked():
    class Mine(nn.Linear):
        pass

    ours = nn.Sequential(nn.Linear(2, 2), vk.nets.MLP((2,), (2,)))
    assert impure(ours) is None
    assert "Mine" in impure(nn.Sequential(ours, Mine(2, 2)))
    assert "<lambda>" in impure(ours, lambda draw, progress: None)
    hook = ours[0].register_forward_hook(lambda *given: None)
    assert "Linear" in impure(ours)
    hook.remove()
    assert impure(ours) is None


def test_a_network_that_counts_its_calls_is_not_captured_unasked():
    class Counts(nn.Module):
        calls = 0

        def forward(self, z):
            self.calls += self.training
            return z.repeat(1, 2) * self.calls

    def make(capture):
        return vk.VAE(3, **SMALL, random_state=0, decoder=lambda *shapes: Counts(), trainer={"capture": capture})

    history, *_ = trained(make, "never", ROWS)
    assert trained(make, "auto", ROWS)[0] == history


@pytest.mark.parametrize("capture", ["never", "auto"])
def test_a_loss_that_is_not_finite_stops_the_run_at_its_step(capture):
    rows = torch.from_numpy(ROWS).float()
    rows[17] = 1e30  # whose square is infinite
    options = Training(epochs=2, batch_size=10, capture=capture, keep="last")
    model = vk.LatentModel(vk.nets.MLP((6,), (4,)), vk.nets.MLP((2,), (6,)), NormalLikelihood((6,)), latent_dim=2)
    step = epoch_order(200, 0, 0).tolist().index(17) // 10 + 1
    assert step > 4  # by when it is captured
    with pytest.raises(UserError, match=rf"stopped at step {step} \(epoch 1\): log p\(x\|z\) is not finite"):
        fit(Alone(torch.device("cpu")), model, ELBO(), Data(rows), Data(rows[:0]), options)
    assert all(p.isfinite().all() for p in model.parameters())


def waits(device, processes, seconds, steps):
    """Behind which of so many steps, that take so long each, a device is waited for."""
    pace, found = Pace(torch.device(device), processes, 0.0), []
    for step in range(steps):
        if pace.is_due():
            found.append(step)
            pace.waited(seconds * (step + 1))
    return found


def test_a_cpu_is_waited_for_at_each_step_and_what_has_others_beside_it_ten_times_a_second():
    assert waits("cpu", 1, 0.001, 50) == list(range(50))
    for device, processes in (("cuda", 1), ("cuda", 2), ("cpu", 2)):
        assert 190 < len(waits(device, processes, 0.001, 20_000)) < 220
        assert waits(device, processes, 0.5, 20) == list(range(20))
