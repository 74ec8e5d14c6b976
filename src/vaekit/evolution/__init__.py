"""Evolution in a learned latent space: a search for the best row of each cell of a grid, among rows that the model believes in.

    functions.py   what is asked of rows: an objective and measures, built in or the user's own
    pool.py        the user's functions at work: in this process, or in others that are ended when they hang
    emitters.py    where candidates come from: codes, rows, and rows by way of their codes
    grid.py        candidates, and the cells that they compete for
    belonging.py   whether a row belongs to the data, as a p-value
    archive.py     what was found, and its files
    journal.py     what each generation gave, so that a search that was cut short goes on
    search.py      all of that together: `evolve`
    adapt.py       which of a repertoire works now

The archives and CMA-ES are those of pyribs (extra `evolve`).
"""

import importlib

_HOME = {"Archive": "archive", "evolve": "search"}
__all__ = list(_HOME)


def __getattr__(name: str) -> object:  # late, because processes that call the user's functions need no PyTorch
    if name in _HOME:
        return getattr(importlib.import_module(f"vaekit.evolution.{_HOME[name]}"), name)
    raise AttributeError(f"module 'vaekit.evolution' has no attribute {name!r}")
