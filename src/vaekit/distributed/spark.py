"""A model at work on Spark. Needs no PyTorch, here or on the executors.

scored = vaekit.distributed.spark.use(spark.read.parquet("s3://b/rows/"), "exported", "score")
scored.write.parquet("s3://b/scores/")
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from vaekit.distributed.work import Work, carried, opened
from vaekit.errors import UserError, extra_needed


def use(frame: Any, folder: str | os.PathLike[str], verb: str = "score", **options: Any) -> Any:
    """The rows of a DataFrame, with what a model finds out about each.

    Args:
        frame: `pyspark.sql.DataFrame`, which stays as it is. folder: that `vaekit export` wrote; its files travel to the executors.
        verb: "score", "encode", "impute" or "predict". options: see `vaekit.distributed.work.Work`.

    Returns:
        `pyspark.sql.DataFrame` with the columns of `frame`, and columns such as "score" and "p_value".

    Raises:
        UserError: pyspark is missing or too old, or the model cannot do it.
    """
    try:
        import pyspark
        from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema
    except ImportError as e:
        raise extra_needed("spark", "pyspark") from e
    if not hasattr(frame, "mapInArrow"):
        raise UserError(f"vaekit does not know Spark {pyspark.__version__}: install pyspark 3.5 or later")
    given = to_arrow_schema(frame.schema)
    found = Work(folder, verb, **options)(given.empty_table()).schema
    files = carried(folder)

    def work(batches: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        model = opened(files, verb, **options)
        for batch in batches:
            if len(batch):
                yield from model(pa.Table.from_batches([batch])).cast(found).combine_chunks().to_batches()

    return frame.mapInArrow(work, from_arrow_schema(found))
