"""The processes that train together: how many there are, and what happens when one of them is lost."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vaekit.errors import UserError
from vaekit.training.alone import Alone
from vaekit.training.devices import chosen_device
from vaekit.training.guards import keep_freed_memory

if TYPE_CHECKING:
    from vaekit.training.fit import Training

PATIENCE = timedelta(minutes=10)  # that processes wait for one that does nothing, such as on a machine that hangs


def launch(options: Training) -> Any:
    """Make Lightning Fabric for these options. For one device it is a stand-in that does the same, since Fabric's import takes seconds.

    Raises:
        UserError: this machine cannot do what the options say.

    Example:
        >>> from vaekit.training import Training, launch
        >>> launch(Training(device="cpu")).device
        device(type='cpu')
    """
    started = check_devices(options)
    keep_freed_memory()
    precision = options.precision
    if precision == "auto":
        precision = "bf16-mixed" if computes_bfloat16(options.device) else "32-true"
    if started == options.devices == options.nodes == 1 and options.strategy == "auto" and precision != "16-mixed":
        return Alone(chosen_device(options.device), precision)
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces precision and processes at every fit
    device, _, index = options.device.partition(":")
    try:
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and not torch.distributed.is_initialized():
            backend = "nccl" if chosen_device(options.device).type == "cuda" else "gloo"
            rank = int(os.environ["RANK"])
            torch.distributed.init_process_group(
                backend, store=meet(rank, started), rank=rank, world_size=started, timeout=PATIENCE
            )
        fabric = Fabric(
            accelerator=device,
            devices=[int(index)] if index else options.devices,
            num_nodes=options.nodes,
            strategy=patient(options.strategy) if started > 1 else options.strategy,
            precision=precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    except (ValueError, TypeError, RuntimeError, ImportError) as e:
        if is_lost(e):
            raise UserError(
                f"not all of the {started} processes came ({first_line(e)}): start all of them again"
            ) from e
        raise UserError(f"cannot train with device {options.device!r}, strategy {options.strategy!r}: {e}") from e
    return fabric


def meet(rank: int, processes: int) -> torch.distributed.Store:
    """torchrun's store, under a name that the processes of this attempt alone know.

    After a restart the store still has the addresses of processes that are gone, and those that read them wait in vain
    (pytorch/pytorch#135712). So each process but the first leaves a new word, and the first tells its holder the name of the attempt,
    until all have said that they heard it.
    """
    store = torch.distributed.TCPStore(
        os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=PATIENCE
    )
    word = secrets.token_hex(8)
    if rank:
        store.set(f"vaekit/word/{rank}", word)
        attempt = store.get(f"vaekit/attempt/{word}").decode()
        store.set(f"vaekit/{attempt}/{rank}", "heard")
        return torch.distributed.PrefixStore(attempt, store)
    missing, until = list(range(1, processes)), time.monotonic() + PATIENCE.total_seconds()
    while missing:
        for other in missing:
            if store.check([f"vaekit/word/{other}"]):
                store.set(f"vaekit/attempt/{store.get(f'vaekit/word/{other}').decode()}", word)
        if time.monotonic() > until:
            raise torch.distributed.DistStoreError(f"waited {PATIENCE} for process {missing[0]}")
        time.sleep(0.02)
        missing = [other for other in missing if not store.check([f"vaekit/{word}/{other}"])]
    return torch.distributed.PrefixStore(word, store)


def patient(strategy: str) -> Any:
    """Fabric's strategy for several processes, which do not wait for each other for ever."""
    from lightning_fabric.strategies import DDPStrategy

    return DDPStrategy(timeout=PATIENCE) if strategy in ("auto", "ddp") else strategy


def settle(fabric: Any, step: Any) -> None:
    """Have DDP choose the order in which it sends gradients, by a backward pass that teaches nothing.

    It takes the order of its first pass for all that follow, and more than two processes add in an order that depends on it. If
    the first pass were a step, a resumed run would take that step in another order, and differ in the last digits.
    """
    if fabric.world_size == 1:
        return
    from lightning_fabric.strategies import DDPStrategy

    if isinstance(fabric.strategy, DDPStrategy):
        fabric.backward(step(None))
        for p in step.parameters():
            p.grad = None


def check_devices(options: Training) -> int:
    """Return how many processes were started.

    UserError if Lightning would start the program again for each of these devices, or wait forever for nodes that nobody started.
    torchrun and SLURM start all processes themselves.
    """
    wanted = options.devices * options.nodes
    started = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1)
    if wanted not in (1, started):
        where = "" if options.nodes == 1 else f"--nnodes {options.nodes} "
        raise UserError(
            f"devices={options.devices} and nodes={options.nodes} need {wanted} processes, but there are {started}: start them "
            f"with `torchrun {where}--nproc-per-node {options.devices} -m vaekit fit ...`, or your own script in place of -m vaekit"
        )
    if options.device != "auto":
        chosen_device(options.device)
    there = torch.cuda.device_count()
    if options.device in ("auto", "cuda") and there and options.devices > there:
        raise UserError(f"devices={options.devices}, but this machine has {there}: ask for no more than that")
    return started


def computes_bfloat16(accelerator: str) -> bool:
    if accelerator != "cpu" and torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


@contextmanager
def together(fabric: Any, folder: Path | None) -> Iterator[None]:
    """A context around the training of processes that `launch` brought together: it ends for all of them at once.

    folder: where the run's checkpoints are.

    Raises:
        UserError: one of the processes is lost.
    """
    try:
        yield
        if fabric.world_size > 1:
            fabric.barrier()
            # A process that exits while its group's threads still run may be aborted.
            torch.distributed.destroy_process_group()
    except RuntimeError as e:
        if not is_lost(e):
            raise
        kept = f"{folder} has the last checkpoint: start them all again with --resume" if folder else "nothing was kept"
        raise UserError(
            f"process {fabric.global_rank} of {fabric.world_size} lost another one, which ended or did not answer "
            f"({first_line(e)}); {kept}"
        ) from e


def is_lost(error: Exception) -> bool:
    """Whether an error says that another process does not answer: gloo and NCCL have no class of their own for it."""
    return isinstance(error, torch.distributed.DistError) or "gloo/" in str(error)


def first_line(error: Exception) -> str:
    """The first line of an error, without the place in PyTorch's source."""
    return str(error).splitlines()[0].rpartition("] ")[2].partition(". ")[0]
