"""Training that loses nothing: killed and resumed, stopped and resumed, shared out over processes, out of disk."""

import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import vaekit as vk
from conftest import (
    assert_same,
    dataset,
    kill_at_checkpoints,
    process,
    start,
    timeless,
    vaekit,
    weights,
    write_settings,
)
from vaekit.errors import UserError
from vaekit.training.data import BatchNoise, Data, epoch_order, generator, split
from vaekit.training.fit import schedule

FIT = ["fit", "digits", "--condition", "label", "--size", "small", "--latent-dim", 4, "--batch-size", 64]
FIT += ["--sampler", "prior", "--no-report"]


@pytest.mark.gpu
def test_killed_at_any_moment_it_resumes_to_the_same_bits(tmp_path):
    config = write_settings(tmp_path / "settings.yaml")
    vaekit(*FIT, "--epochs", 4, "--config", config, "--out", tmp_path / "whole", check=0)
    run = tmp_path / "killed"
    fit = (*FIT, "--epochs", 4, "--config", config, "--out", run)
    kills = kill_at_checkpoints(run, (0.02, 0.11, 0.19, 0.3), *fit)
    assert kills >= 2, "training was over before it could be killed: the test tests nothing"
    vaekit("fit", "--resume", "--out", run, "--no-report", check=0)
    assert not list(run.glob(".*"))  # nothing half-written is left
    assert_same(weights(tmp_path / "whole"), weights(run))
    assert_same(load_file(tmp_path / "whole/model.safetensors"), load_file(run / "model.safetensors"))
    assert timeless(tmp_path / "whole") == timeless(run)


@pytest.mark.gpu
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
    config = write_settings(tmp_path / "settings.yaml")
    vaekit(*FIT, "--epochs", 4, "--config", config, "--out", tmp_path / "whole", check=0)
    run = tmp_path / "stopped"
    running = start(*FIT, "--epochs", 4, "--config", config, "--out", run)
    while not (run / "checkpoint.safetensors").exists():
        assert running.poll() is None
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert f"vaekit fit --resume --out {run}" in said
    assert "Traceback" not in said
    vaekit("fit", "--resume", "--out", run, "--no-report", check=0)
    assert_same(weights(tmp_path / "whole"), weights(run))


def test_a_full_disk_is_said_and_what_was_there_is_kept(tmp_path):
    config = write_settings(tmp_path / "settings.yaml")
    run = tmp_path / "run"
    vaekit(*FIT, "--epochs", 1, "--config", config, "--out", run, check=0)
    before = {p.name: p.read_bytes() for p in run.iterdir()}

    def no_room():  # a file may not grow beyond this: the write fails as it does on a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = process("fit", "--resume", "--out", run, "--epochs", 3, "--no-report", preexec_fn=no_room)
    assert done.returncode == 2, done.stderr
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert (run / "checkpoint.safetensors").read_bytes() == before["checkpoint.safetensors"]
    vaekit("fit", "--resume", "--out", run, "--epochs", 3, "--no-report", check=0)  # room again: it goes on


@pytest.mark.gpu
def test_nan_stops_with_step_and_tensor_and_keeps_the_last_good_state(tmp_path, digits):
    images, _ = digits

    class Spoiler(torch.nn.Linear):
        """Its weights turn NaN at the tenth step."""

        seen = 0

        def forward(self, x):
            self.seen += self.training and torch.is_grad_enabled()
            if self.seen == 10:
                with torch.no_grad():
                    self.weight[0, 0] = torch.nan
            return super().forward(x)

    vae = vk.VAE(
        4, epochs=2, decoder=lambda i, o, c: torch.nn.Sequential(Spoiler(4, 64), torch.nn.Unflatten(1, (1, 8, 8))),
        trainer={"checkpoint_seconds": 0.0},
    )  # fmt: skip
    with pytest.raises(
        UserError, match=r"step 10 \(epoch 1\): weight decoder.0.weight is not finite; the last good state"
    ):
        vae.fit_data(dataset(images), folder=tmp_path / "run")
    kept = load_file(tmp_path / "run/checkpoint.safetensors")
    assert all(v.isfinite().all() for v in kept.values() if v.is_floating_point())
    assert any(k.startswith("optimizer") for k in kept)


def test_resume_refuses_other_settings_and_other_data(tmp_path):
    run = tmp_path / "run"
    vaekit(*FIT, "--epochs", 1, "--out", run, check=0)
    assert "latent_dim" in vaekit("fit", "--resume", "--out", run, "--latent-dim", 5, check=2).stderr
    assert "same data" in vaekit("fit", "digits[:500]", "--resume", "--out", run, check=2).stderr
    assert "already holds a run" in vaekit(*FIT, "--epochs", 1, "--out", run, check=2).stderr
    more = vaekit("fit", "--resume", "--out", run, "--epochs", 2, "--no-report", check=0)
    assert "ELBO" in more.stderr
    assert len(timeless(run)) == 2
    checkpoint = run / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert "damaged" in vaekit("fit", "--resume", "--out", run, check=2).stderr


def test_fit_leaves_the_global_random_state_alone(digits):
    images, _ = digits
    before = torch.get_rng_state()
    vk.VAE(2, size="small", epochs=1).fit(images)
    assert torch.equal(before, torch.get_rng_state())


def test_the_best_epoch_is_kept_and_training_stops_early(digits):
    images, _ = digits
    few = images[:60]  # too few to learn from for long: validation turns
    vae = vk.VAE(8, epochs=300, batch_size=16, patience=0.1, validation=0.3, learning_rate=3e-3).fit(few)
    elbo = [row["valid_elbo"] for row in vae.history_]
    assert len(elbo) < 300
    assert len(elbo) - 1 - int(np.argmax(elbo)) == pytest.approx(30, abs=1)
    _, valid = split(60, 0.3, 0)
    scores = [vae.evaluate(few[valid.numpy()], k=1)["elbo"]]
    assert scores[0] == pytest.approx(max(elbo), rel=0.02)  # the noise differs, the weights do not


def test_schedule_is_a_share_of_the_run():
    assert schedule(0.0) < 0.05
    assert schedule(0.02) == pytest.approx(1.0, abs=0.01)
    assert schedule(1.0) == pytest.approx(0.0, abs=1e-9)


def test_every_row_is_seen_once_an_epoch_in_a_new_order():
    first, again, second = epoch_order(100, 0, 0), epoch_order(100, 0, 0), epoch_order(100, 0, 1)
    assert first.sort().values.tolist() == list(range(100))
    assert first.equal(again)
    assert not first.equal(second)


def test_random_numbers_do_not_depend_on_how_the_batch_is_shared():
    whole = BatchNoise(generator(3, 1, 7), 8, slice(None))
    parts = [BatchNoise(generator(3, 1, 7), 8, slice(i * 4, i * 4 + 4)) for i in range(2)]
    joined = [torch.cat([p.uniform(4, 5) for p in parts]), torch.cat([p.normal(2, 4, 3) for p in parts], dim=1)]
    assert torch.equal(whole.uniform(8, 5), joined[0])
    assert torch.equal(whole.normal(2, 8, 3), joined[1])


def test_split_is_a_partition():
    train, valid = split(101, 0.1, 0)
    assert sorted([*train.tolist(), *valid.tolist()]) == list(range(101))
    assert len(valid) == 10
    assert len(split(9, 0.5, 0)[1]) == 0


def test_data_is_sliced_with_its_mask_and_conditions():
    data = Data(torch.arange(6.0)[:, None], torch.ones(6, 1, dtype=torch.bool), {"a": torch.arange(6)})
    part = data[torch.tensor([4, 1])]
    assert part.x.flatten().tolist() == part.y["a"].tolist() == [4, 1]
    assert [len(c) for c in data.chunks(4)] == [4, 2]


def test_memory_stays_flat_over_epochs():
    code = """
import resource, numpy as np, vaekit, vaekit.sources
class Watch:
    peaks = []
    def step(self, *a): ...
    def epoch(self, state, progress, row): self.peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
data = vaekit.sources.Dataset(np.random.default_rng(0).random((4000, 64)), "", "data", None, {}, [])
vaekit.VAE(8, size="small", epochs=40, sampler="prior").fit_data(data, watchers=[Watch()])
print(Watch.peaks[5], Watch.peaks[-1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    early, late = map(int, done.stdout.split())
    assert late - early < 20_000  # KiB


@pytest.mark.parametrize("minutes", [0.02])
def test_minutes_are_kept(minutes, digits):
    images, _ = digits
    vae = vk.VAE(2, size="small", minutes=minutes).fit(images)
    assert vae.history_[-1]["seconds"] == pytest.approx(60 * minutes, abs=0.5)


def test_data_is_not_rounded_where_networks_run_in_half_precision():
    """log p(x|z) is of x itself: what reaches the objective has all its digits in every precision."""
    x = 1 + torch.rand(64, 8) * 1e-3  # bfloat16 would make most of these 1
    seen = []

    class Look:
        def __call__(self, draw, progress):
            seen.append(draw.x.clone())
            return -draw.elbo.mean(), {"reconstruction": -draw.log_px.mean().detach(), "kl": draw.kl.mean().detach()}

    from vaekit.distributions.likelihoods import NormalLikelihood
    from vaekit.nets import MLP
    from vaekit.training import Training, fit, launch

    options = Training(epochs=1, batch_size=64, precision="bf16-mixed", device="cpu")
    model = vk.LatentModel(MLP((8,), (4,)), MLP((2,), (8,)), NormalLikelihood((8,)), latent_dim=2)
    fit(launch(options), model, Look(), Data(x), Data(x[:0]), options)
    assert seen[0].sort(0).values.equal(x.sort(0).values)
