"""Scores by Dask: python dask_scores.py MODEL SOURCE.parquet SCORES

MODEL is a folder of `vaekit export RUN -o MODEL`, which all workers can reach or not: its files travel with the work. SOURCE is a
Parquet file or a folder of them, and SCORES a folder to write. With a cluster, make a `dask.distributed.Client` first.
"""

import sys

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa

from vaekit.distributed.work import Work, carried, opened


def scored(part: pd.DataFrame, files: dict[str, bytes], schema: pa.Schema) -> pd.DataFrame:
    rows = pa.Table.from_pandas(part, schema, preserve_index=False)
    return opened(files, "score")(rows).to_pandas()  # a process opens the model once


def main(model: str, source: str, out: str) -> None:
    rows = dd.read_parquet(source, dtype_backend="pyarrow")
    schema = pa.Schema.from_pandas(rows.partitions[0].head(1), preserve_index=False)
    meta = Work(model, "score")(schema.empty_table()).to_pandas()
    rows.map_partitions(scored, carried(model), schema, meta=meta).to_parquet(out, write_index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
