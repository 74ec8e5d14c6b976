"""Hugging Face datasets as sources: tables, or pictures with a table beside them."""

from __future__ import annotations

from pathlib import Path

from vaekit.errors import UserError, extra_needed
from vaekit.frame import Frame
from vaekit.sources.base import Ask, Dataset
from vaekit.sources.pictures import from_pictures
from vaekit.sources.tables import column_offers, from_table


def read_hugging_face(ask: Ask) -> Dataset:
    try:
        import datasets
    except ImportError as error:
        raise extra_needed("hf", "datasets") from error
    import pyarrow as pa

    name, split = ask.text.removeprefix("hf://"), "train"
    if ":" in name and not Path(name).exists():
        name, split = name.rsplit(":", 1)
    try:
        data = datasets.load_dataset(name, split=split)
        images = [key for key, feature in data.features.items() if isinstance(feature, datasets.Image)]
        for key in images:
            data = data.cast_column(key, datasets.Image(decode=False))
        table = data.with_format("arrow")[:]
    except Exception as error:  # of whichever library it uses for this source
        reason = str(error.__cause__ or error)[:300]
        raise UserError(f"{ask.text} could not be loaded ({reason}): check its name and split") from error
    for i, (key, feature) in enumerate(data.features.items()):
        if isinstance(feature, datasets.ClassLabel):
            labels = [None if k is None or k < 0 else feature.names[k] for k in table[key].to_pylist()]
            table = table.set_column(i, key, pa.array(labels, pa.string()))
    name = Path(name).name
    if not images:
        return from_table(table, ask, name, [])
    if len(images) > 1:
        raise UserError(f"{ask.text} has several columns of pictures ({', '.join(images)}): give a source with one")
    cells = table[images[0]].to_pylist()
    pictures = [(f"row {i}", cell["bytes"] or Path(cell["path"]) if cell else b"") for i, cell in enumerate(cells)]
    return from_pictures(pictures, ask, name, column_offers(Frame.of(table.drop_columns(images)), ask))
