"""A disk that is full and a process that is killed, at every single call that writes a run's files.

Run in a process of its own, `python faults.py CASE FOLDER`, whose forks are killed: PyTorch cannot train in a fork of a process in
which a second device is registered, as other tests do.
"""

import errno
import os
import sys
from pathlib import Path

import numpy as np

import vaekit as vk
from conftest import dataset
from vaekit import files
from vaekit.errors import UserError
from vaekit.files import digest

ROWS = np.random.default_rng(0).normal(size=(40, 2))
CALLS = ("open", "fsync", "replace")


class Failing:
    """The module os, the n-th of whose `CALLS` does what `fault` does instead."""

    def __init__(self, n, fault):
        self.left, self.fault = n, fault

    def __getattr__(self, name):
        if name not in CALLS:
            return getattr(os, name)

        def call(*args, **kwargs):
            self.left -= 1
            return self.fault() if self.left == 0 else getattr(os, name)(*args, **kwargs)

        return call


def full():
    raise OSError(errno.ENOSPC, "No space left on device")


def killed():
    os._exit(9)


def faulty(n, fault, do):
    """Whether `do` came to its end before the n-th call, which would fail; in a process of its own, which may be killed."""
    if not (child := os.fork()):
        code = 1
        try:
            files.os = Failing(n, fault)
            do()
            code = 0 if files.os.left > 0 else 3  # the fault did no harm
        except UserError as e:
            code = 2 if "No space left" in str(e) else 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 3, {full: 2, killed: 9}[fault]), code
    return code == 0


def vae(seed=0, epochs=2):
    settings = {"checkpoint_seconds": 0.0}
    return vk.VAE(1, size="small", epochs=epochs, sampler="prior", random_state=seed, trainer=settings)


def weights(run):
    return digest(vk.load(run).model_.state_dict())


def right():
    return digest(vae().fit(ROWS).model_.state_dict())


def stopped_fit(fault, step, tmp_path):
    wanted = right()
    for n in range(1, 100, step):
        run = tmp_path / str(n)
        whole = faulty(n, fault, lambda run=run: vae().fit_data(dataset(ROWS), folder=run))
        if (run / "config.yaml").exists():
            try:
                vk.load(run)
            except UserError as e:
                assert "does not exist: the run is not complete" in str(e)  # noqa: PT017
                assert not (run / "model.safetensors").exists()
        vae().fit_data(dataset(ROWS), folder=run, resume=True)
        assert weights(run) == wanted
        assert not list(run.glob(".*"))
        if whole:
            break
    assert n > 20


def stopped_save(fault, tmp_path):
    old, new = vae(epochs=1).fit(ROWS), vae(seed=1, epochs=1).fit(ROWS)
    before, after = (digest(each.model_.state_dict()) for each in (old, new))
    for n in range(1, 100):
        run = old.save(tmp_path / str(n))
        whole = faulty(n, fault, lambda run=run: new.save(run))
        if whole:
            assert weights(run) == after
            break
        try:
            assert weights(run) in (before, after)
        except UserError as e:
            assert "one belongs to another run" in str(e)  # noqa: PT017  between two files that take their places
        new.save(run)
        assert weights(run) == after
        assert not list(run.glob(".*"))
    assert n > 5


def full_disk_at_save(tmp_path):
    old, new = vae(epochs=1).fit(ROWS), vae(seed=1, epochs=1).fit(ROWS)
    run = old.save(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    for n in range(1, 8):  # until all new files are written
        assert not faulty(n, full, lambda: new.save(run))
        assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def stopped_pack(fault, tmp_path):
    source = tmp_path / "x.npy"
    np.save(source, ROWS)
    whole = vk.pack(source, tmp_path / "whole", rows_per_shard=15)
    wanted = {path.name: path.read_bytes() for path in whole.iterdir()}
    for n in range(1, 100):
        folder = tmp_path / str(n)
        over = faulty(n, fault, lambda folder=folder: vk.pack(source, folder, rows_per_shard=15))
        vk.pack(source, folder, rows_per_shard=15)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted
        if over:
            break
    assert n > 20


CASES = {
    "pack, full": lambda folder: stopped_pack(full, folder),
    "pack, killed": lambda folder: stopped_pack(killed, folder),
    "fit, full": lambda folder: stopped_fit(full, 3, folder),
    "fit, killed": lambda folder: stopped_fit(killed, 1, folder),
    "save, full": lambda folder: stopped_save(full, folder),
    "save, killed": lambda folder: stopped_save(killed, folder),
    "old run, full": full_disk_at_save,
}

if __name__ == "__main__":
    CASES[sys.argv[1]](Path(sys.argv[2]))
