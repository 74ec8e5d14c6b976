"""Evolution in a learned latent space: a search for the best row of each cell of a grid, among rows that the model believes in.

    functions.py   what is asked of rows: an objective and measures, built in or the user's own
    pool.py        the user's functions at work: in this process, or in others that are ended when they hang
    emitters.py    where candidates come from: codes, rows, and rows by way of their codes
    archive.py     what was found, and its files
    journal.py     what each generation gave, so that a search that was cut short goes on
    search.py      all of that together: `evolve`

The archives and CMA-ES are those of pyribs (extra `evolve`).
"""

from vaekit.evolution.archive import Archive
from vaekit.evolution.search import evolve

__all__ = ["Archive", "evolve"]
