"""How long a source takes to read, the memory that it takes, and when a person sees something of it."""

from __future__ import annotations

import os
import re
import resource
import time
import warnings
from pathlib import Path

import numpy as np
from common import job, report
from PIL import Image
from pyarrow import csv, parquet


def pictures(path: str) -> None:
    """Every file is decoded into its place in an array, by one thread."""
    files = [entry.path for entry in os.scandir(path)]
    x = np.empty((len(files), *np.asarray(Image.open(files[0])).shape), np.uint8)
    for i, file in enumerate(files):
        x[i] = np.asarray(Image.open(file))


def lerobot(path: str) -> None:
    """Every frame of the videos is decoded and converted; nothing is kept."""
    import av

    for file in Path(path).rglob("*.mp4"):
        with av.open(str(file)) as container:
            converter = av.video.reformatter.VideoReformatter()
            for frame in container.decode(video=0):
                converter.reformat(frame, format="rgb24").to_ndarray()


def hdf5(path: str) -> None:
    """The arrays of all cameras, episode by episode; nothing is kept."""
    import h5py

    for file in Path(path).iterdir():
        with h5py.File(file) as episode:
            for camera in episode["observations/images"].values():
                camera[()]


FLOORS = {
    "pictures": pictures,
    "lerobot": lerobot,
    "hdf5": hdf5,
    "csv": csv.read_csv,
    "semicolons": lambda path: csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=";")),
    "parquet": parquet.read_table,
}


def memory(what: str) -> float:
    """Of this process, in MB: "VmRSS" now, "VmHWM" at most."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else float("nan")


given = job()
if given["floor"]:
    read = FLOORS[given["floor"]]
else:
    from vaekit.robots.datasets import read_demonstrations
    from vaekit.sources import read as read_source

    warnings.simplefilter("ignore")
    read = read_demonstrations if given["robots"] else read_source
Path("/proc/self/clear_refs").write_text("5")  # the most memory counts from here
before = memory("VmRSS")
began, work = time.time(), resource.getrusage(resource.RUSAGE_SELF)
kept = read(given["path"])
ended, done = time.time(), resource.getrusage(resource.RUSAGE_SELF)
busy = done.ru_utime + done.ru_stime - work.ru_utime - work.ru_stime
report(began=began, ended=ended, busy=busy, peak=memory("VmHWM") - before)
