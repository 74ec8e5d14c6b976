"""Scores by DuckDB: python duckdb_scores.py MODEL SOURCE.parquet SCORES.parquet

MODEL is a folder of `vaekit export RUN -o MODEL`. A function of DuckDB has as many parameters as the model has columns: they are named
one by one, in the model's order.
"""

import sys

import duckdb
import pyarrow as pa

from vaekit.distributed.work import Work


def main(model: str, source: str, out: str) -> None:
    work, con = Work(model, "score"), duckdb.connect()
    con.execute("SET threads = 1; SET preserve_insertion_order = true")  # the model works on one core
    known = con.read_parquet(source)
    columns = work.needs(pa.schema([(name, pa.null()) for name in known.columns]), [])
    types = [known.types[known.columns.index(name)] for name in columns]

    def score(*values: pa.ChunkedArray) -> pa.Array:
        return work.found(pa.table(dict(zip(columns, values, strict=True))))["score"].combine_chunks()

    named = ", ".join(f"c{i}" for i in range(len(columns)))  # DuckDB counts the parameters, and takes no *values
    function = eval(f"lambda {named}: score({named})", {"score": score})
    con.create_function("score", function, types, "FLOAT", type="arrow", null_handling="special")
    given = ", ".join(f'"{name}"' for name in columns)
    con.execute(f"COPY (SELECT *, score({given}) AS score FROM read_parquet('{source}')) TO '{out}' (FORMAT parquet)")


if __name__ == "__main__":
    main(*sys.argv[1:])
