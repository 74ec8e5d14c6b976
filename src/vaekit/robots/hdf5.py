"""Episodes as ACT and ALOHA record them: one HDF5 file each, with /action, /observations/qpos and pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaekit.errors import UserError, extra_needed, near_matches
from vaekit.robots.demonstrations import CAMERA, Asked, Demonstrations, joined
from vaekit.sources.base import decoding, shown
from vaekit.sources.pictures import open_picture

if TYPE_CHECKING:
    import h5py

FILES = re.compile(r"episode_(\d+)\.hdf5")
FPS = 50.0  # of ALOHA; the files do not say


def read_hdf5(asked: Asked) -> Demonstrations:
    """qpos is the state, images/NAME the camera "images.NAME"; whatever else an episode holds is left out."""
    try:
        import h5py
    except ImportError as error:
        raise extra_needed("robots", "h5py") from error
    paths = [asked.path]
    if asked.path.is_dir():
        numbers = sorted((int(match[1]), name) for name in shown(asked.path) if (match := FILES.fullmatch(name)))
        paths = [asked.path / name for _, name in numbers]
    parts, left_out = [], set()
    chosen = asked.episodes(len(paths))
    for path in (paths[i] for i in chosen):
        with decoding(str(path), "an HDF5 file"), h5py.File(path, "r") as file:
            part, others = _episode(asked, path, file)
            parts.append(part)
            left_out |= others
    demonstrations = joined(asked, parts, chosen, FPS)
    demonstrations.notes.append(f"{asked.text} does not tell its frames a second; they were taken to be {FPS:g}")
    if left_out:
        demonstrations.notes.append(f"{asked.text}: left out {', '.join(sorted(left_out))}")
    return demonstrations


def _episode(asked: Asked, path: Path, file: h5py.File) -> tuple[dict[str, np.ndarray], set[str]]:
    """Actions and observations of one episode, and the names of the datasets that were left out."""
    datasets: dict[str, Any] = {}
    file.visititems(lambda name, item: datasets.update({name: item}) if hasattr(item, "shape") else None)
    if "action" not in datasets:
        raise UserError(f"{path} has no /action{near_matches('action', datasets)}: give an episode that ACT recorded")
    pictures = "observations/images/"
    held = [CAMERA + name.removeprefix(pictures) for name in datasets if name.startswith(pictures)]
    names = {"actions": "action", "state": "observations/qpos"}
    names |= {camera: pictures + camera.removeprefix(CAMERA) for camera in asked.wanted(held)}
    part = {name: _values(datasets[key], asked) for name, key in names.items() if key in datasets}
    for name, values in part.items():
        if not values.ndim or not len(values):
            raise UserError(f"{path}: /{names[name]} has no frames: remove the episode, or record it again")
    others = {name for name in datasets if name not in names.values() and not name.startswith(pictures)}
    return part, others - {"compress_len"}


def _values(dataset: h5py.Dataset, asked: Asked) -> np.ndarray:
    if dataset.external or dataset.is_virtual:
        raise UserError(
            f"{dataset.file.filename}: {dataset.name} takes its numbers from another file: save them in this one"
        )
    values = dataset[()]
    if not dataset.name.startswith("/observations/images/"):
        return values
    if values.ndim in (1, 2):
        # Pictures as files, padded with zeros to one length (or of a length each), which decoders do not mind. Their
        # colours are what the file says, as LeRobot reads them; ACT itself takes them in OpenCV's order, blue first.
        values = np.stack([np.asarray(open_picture(file.tobytes()).convert("RGB")) for file in values])
    return asked.pictures(values)
