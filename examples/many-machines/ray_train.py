"""Train on a Ray cluster with Ray Train:

    python ray_train.py s3://bucket/shards /shared/runs/mine --workers 8 --gpu --settings '{"latent_dim": 16}'

The run is in a folder that all nodes share. Where a worker is lost, Ray starts all of them again, and they go on from the last
checkpoint. `pip install 'ray[train]'`
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer


def learn(job: dict[str, Any]) -> None:
    """What each worker does."""
    import ray.train

    from vaekit.recipes.recipe import Recipe

    context = ray.train.get_context()
    devices = context.get_local_world_size()
    # Ray has brought the processes together. With these, vaekit takes them as if torchrun had.
    os.environ.update(TORCHELASTIC_RUN_ID="ray", GROUP_RANK=str(context.get_node_rank()))
    together = {"devices": devices, "nodes": context.get_world_size() // devices}
    settings = {**job["settings"], "trainer": {**job["settings"].get("trainer", {}), **together}}
    Recipe(job["source"], settings=settings).train(Path(job["run"]), resume=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="what vaekit fit takes")
    parser.add_argument("run", help="the run directory")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gpu", action="store_true", help="a GPU for each worker")
    parser.add_argument("--settings", type=json.loads, default={}, help="settings of the estimator, as JSON")
    options = parser.parse_args()
    TorchTrainer(
        learn,
        train_loop_config={"source": options.source, "run": os.path.abspath(options.run), "settings": options.settings},
        scaling_config=ScalingConfig(num_workers=options.workers, use_gpu=options.gpu),
        run_config=RunConfig(failure_config=FailureConfig(max_failures=10)),
    ).fit()


if __name__ == "__main__":
    main()
