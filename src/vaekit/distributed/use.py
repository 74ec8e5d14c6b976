"""A verb on many processes, from a run and a source to a folder of parts."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from vaekit.distributed.parts import Parts, check_folder
from vaekit.distributed.pool import make_parts
from vaekit.distributed.rows import Rows, staged
from vaekit.distributed.work import GRAPHS, Work, X
from vaekit.errors import UserError, extra_needed, near_matches
from vaekit.files import locked, remove_leftovers
from vaekit.forms import open_form
from vaekit.runtime.folder import ABOUT, WHY, digest_of, read_about
from vaekit.show.track import track

log = logging.getLogger(__name__)

MODEL, ROWS = ".model", ".rows"  # in the folder of parts, until all are made


class Used:
    """A run, or a model that was exported.

    Attributes:
        hash: of the model. form: of its rows.
    """

    def __init__(self, place: Path, verb: str):
        self.place, self.verb, self.estimator = place, verb, None
        if (place / ABOUT).is_file():
            about = read_about(place / ABOUT)
            self.hash, self.form = digest_of(about), open_form(about["form"])
            self.conditions = [each["name"] for each in about["conditions"]]
            return
        from vaekit.deploy.export import check
        from vaekit.deploy.graphs import GRAPHS as EXPORTED
        from vaekit.fitted import model_hash
        from vaekit.runs.load import load

        self.estimator = load(place, device="cpu")
        check(self.estimator)
        fitted = self.estimator.fitted_
        graph = GRAPHS[verb][0]
        if not EXPORTED[graph].suits(fitted):
            raise UserError(f"{place} cannot {verb} on many processes: {fitted.kind.why_not('scores') or WHY[graph]}")
        self.hash, self.form = model_hash(fitted), open_form(fitted.kind.form())

    def check(self, score: str, k: int | None, calibrate: str | None) -> None:
        """UserError for a wish that an exported model cannot fulfil."""
        if self.estimator is None and (score != "auto" or k or calibrate):
            raise UserError(
                f"{self.place} was exported, and has one score and its calibration: leave out --score, -k and --calibrate"
            )

    def exported(self, folder: Path, score: str, k: int | None, calibrate: str | None) -> Path:
        """The folder of the exported model: its own, or one that is written. score, k, calibrate: as for `vaekit score`."""
        if self.estimator is None or (folder / ABOUT).is_file():
            return self.place if self.estimator is None else folder
        from vaekit.deploy.export import export
        from vaekit.recipes.calibrate import calibrated

        odd = None
        if self.verb == "score":
            odd = calibrated(self.place, self.estimator, score, {"k": k} if k else {}, calibrate)
        log.info("exporting %s, which takes some seconds", self.place)
        export(self.estimator, folder, odd=odd, k=k, only=GRAPHS[self.verb])
        return folder

    def read(self, source: str) -> Any:
        """The rows of any source, as a `Dataset`."""
        if self.estimator is not None:
            return self.estimator.read(source)
        from vaekit import sources

        columns = list(self.form.fields) or None
        return sources.read(source, conditions=self.conditions, columns=columns, optional_conditions=True)

    def found(self, source: str, folder: Path) -> tuple[str, list[str]]:
        """The Parquet files that hold the rows, and the columns that name them. Another source is read now, and becomes such a file."""
        path = Path(source).expanduser()
        far = "://" in source and not source.startswith("hf://")
        parquet = path.suffix.lower() == ".parquet" if path.is_file() else any(path.glob("*.parquet"))
        if (far or parquet) and (self.form.fields or X in Rows(source).schema.names):
            return source, []
        data = self.read(source)
        folder.mkdir(exist_ok=True)
        staged(data, folder / "rows.parquet")
        return str(folder / "rows.parquet"), list(data.names)


def use(
    run: Path, verb: str, source: str | None, out: Path, *, workers: int, n: int = 0, score: str = "auto", k: int | None = None,
    calibrate: str | None = None, work: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Write a folder of parts. The same call goes on with one that was begun.

    Args:
        run: a run, or a model that was exported. verb: see `vaekit.distributed.work.GRAPHS`. n: rows to sample, if there is no source.
        score, k, calibrate: as for `vaekit score`, of a run. work: arguments of `Work`.

    Returns:
        what was done, in words.

    Raises:
        UserError: the model or the source does not suit, the folder holds something else, or a part cannot be made.
    """
    check_folder(out)
    used, options = Used(run, verb), dict(work or {})
    used.check(score, k, calibrate)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        try:
            place, names = used.found(source, out / ROWS) if source is not None else ("", [])
            rows = Rows(place) if source is not None else None
            said = {**options, "score": score, "k": k, "calibrate": calibrate}
            parts = Parts(out, verb, said, used.hash, rows.total if rows else n, rows.fingerprint if rows else None)
            parts.check()
            if left := len(parts.left):
                model = used.exported(out / MODEL, score, k, calibrate)
                try_out(Work(model, verb, **options), rows, names)
                parts.claim()
                made_of = {**asdict(parts), "folder": str(out)}
                about = {"parts": made_of, "model": str(model), "work": options, "place": place, "names": names}
                make(parts, about, workers)
            shutil.rmtree(out / MODEL, ignore_errors=True)
        finally:
            shutil.rmtree(out / ROWS, ignore_errors=True)
            remove_leftovers(out, 0.0)  # of workers that were killed
    before = f", of which {len(parts) - left} were there" if left < len(parts) else ""
    return f"done: {parts.rows} rows in {len(parts)} parts{before} in {out}"


def try_out(work: Work, rows: Rows | None, names: list[str]) -> None:
    """Work on the first rows, so that an error that all rows would meet is raised now."""
    if rows is None:
        next(work.sample(0, 1))
    else:
        work.written(next(rows.read(0, 1, work.needs(rows.schema, names))), names, 0)


def make(parts: Parts, about: Mapping[str, Any], workers: int) -> None:
    """Make the parts that are left, and show how far it has come."""
    work = Counted(partial(make_parts, parts, about, workers), sum(map(parts.slices, parts.left)))
    try:
        for _ in track(work, parts.verb):
            pass
    except UserError as e:
        raise UserError(f"{e}. {so_far(parts)}") from e
    except KeyboardInterrupt:
        log.info("%s", so_far(parts))
        raise


def so_far(parts: Parts) -> str:
    done = len(parts) - len(parts.left)
    return f"{done} of {len(parts)} parts are done and kept: the same command makes the others"


class Counted:
    """Work that is counted as it is done. begin: begins it. n: how much there is."""

    def __init__(self, begin: Callable[[], Iterator[Any]], n: int):
        self.begin, self.n = begin, n

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[Any]:
        return self.begin()


def use_engine(
    engine: str, address: str | None, run: Path, verb: str, source: str, out: str, *, score: str = "auto", k: int | None = None,
    calibrate: str | None = None, work: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Do the work with Ray or Spark, from a source and to a folder of Parquet files that all machines reach. They name the parts.

    Raises:
        UserError: as for `use`, or the engine is unknown, missing or too old.
    """
    if engine not in ENGINES:
        raise UserError(f"--engine {engine}{near_matches(engine, ENGINES)}")
    if "://" not in out:
        check_folder(Path(out))
    used = Used(run, verb)
    used.check(score, k, calibrate)
    with tempfile.TemporaryDirectory(prefix="vaekit-") as scratch:
        model = used.exported(Path(scratch) / "model", score, k, calibrate)
        Rows(source)  # which says what is wrong with it
        ENGINES[engine](address, str(model), verb, source, out, dict(work or {}))
    return f"done: the rows of {source} with their {verb} in {out}"


def by_ray(address: str | None, model: str, verb: str, source: str, out: str, options: dict[str, Any]) -> None:
    try:
        import ray.data
    except ImportError as e:
        raise extra_needed("ray", "ray[data]") from e
    from vaekit.distributed.ray import use

    try:
        cores = None if address else max(2, os.cpu_count() or 1)  # one works while another reads
        ray.init(address, num_cpus=cores, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as e:
        raise UserError(f"Ray does not start at {address or 'this machine'}: {e}") from e
    try:
        use(ray.data.read_parquet(source), model, verb, **options).write_parquet(out)
    finally:
        ray.shutdown()


def by_spark(address: str | None, model: str, verb: str, source: str, out: str, options: dict[str, Any]) -> None:
    try:
        from pyspark.sql import SparkSession
    except ImportError as e:
        raise extra_needed("spark", "pyspark") from e
    from vaekit.distributed.spark import use

    spark = SparkSession.builder.master(address or "local[*]").appName("vaekit").getOrCreate()
    try:
        use(spark.read.parquet(source), model, verb, **options).write.mode("append").parquet(out)
    finally:
        spark.stop()


ENGINES: dict[str, Callable[..., None]] = {"ray": by_ray, "spark": by_spark}
