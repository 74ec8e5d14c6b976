"""A model at work on Ray Data. Needs no PyTorch, here or on the machines of the cluster.

scored = vaekit.distributed.ray.use(ray.data.read_parquet("s3://b/rows/"), "exported", "score")
scored.write_parquet("s3://b/scores/")
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from vaekit.distributed.work import Work, carried, opened
from vaekit.errors import UserError, extra_needed

ROWS, SHARE = 8192, 0.5  # of a batch; of a core: as many actors as cores leave some to those who read and write


class Actor:
    """A model."""

    def __init__(self, files: Mapping[str, bytes], verb: str, options: Mapping[str, Any]):
        self.work = opened(files, verb, **options)

    def __call__(self, batch: Any) -> Any:
        return self.work(batch)


def use(
    dataset: Any, folder: str | os.PathLike[str], verb: str = "score", *, actors: int | None = None, **options: Any
) -> Any:
    """The rows of a dataset, with what a model finds out about each.

    Args:
        dataset: `ray.data.Dataset` of named columns. folder: that `vaekit export` wrote; its files travel to the actors.
        verb: "score", "encode", "impute" or "predict". actors: one a core; None: up to as many as there are cores.
        options: see `vaekit.distributed.work.Work`.

    Returns:
        `ray.data.Dataset` with the columns of `dataset`, and columns such as "score" and "p_value".

    Raises:
        UserError: Ray is missing or too old, or the model cannot do it.
    """
    try:
        import ray
        from ray.data import ActorPoolStrategy
    except ImportError as e:
        raise extra_needed("ray", "ray[data]") from e
    Work(folder, verb, **options)
    cores, least = int(ray.cluster_resources().get("CPU", 1)), actors or 1
    if least * SHARE + 1 > cores:
        raise UserError(f"{least} actors leave none of the {cores} cores to read with: give fewer, or more cores")
    try:
        return dataset.map_batches(
            Actor, fn_constructor_args=(carried(folder), verb, options), batch_format="pyarrow", batch_size=ROWS, num_cpus=SHARE,
            compute=ActorPoolStrategy(min_size=least, max_size=actors or cores),
        )  # fmt: skip
    except (TypeError, AttributeError) as e:
        raise UserError(f"vaekit does not know Ray {ray.__version__} ({e}): install ray[data] 2.40 or later") from e
