"""
An archive of digits
====================

A decoder turns every code into a digit, so its latent is a space to search. This search looks for the crispest digit of each weight
and slant. It needs pyribs: ``pip install 'vaekit[evolve]'``.
"""

# %%
# Two functions say what is wanted. ``crisp`` is the objective, and high is good: 0 is a picture of black and
# white pixels without grey. ``looks`` gives the two measures that span the
# grid: how much ink a digit has, and how far it leans.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import vaekit

X = load_digits().images


def crisp(rows):
    return -(rows * (16 - rows)).mean((1, 2))


def looks(rows):
    columns = np.arange(8) - 3.5
    upper, lower = ((half @ columns).sum(1) / (half.sum((1, 2)) + 1e-9) for half in (rows[:, :4], rows[:, 4:]))
    return np.column_stack([rows.mean((1, 2)), upper - lower])


# %%
# Search 11 by 11 cells. ``trust=0.05`` keeps rows out of the archive that do not look like the data: an elite's p-value of belonging
# to the data is at least 0.05.

vae = vaekit.VAE(size="small", network="mlp", epochs=100, random_state=0).fit(X)
cells, ranges = (11, 11), [(2, 7.5), (-2.2, 2.2)]
archive = vaekit.evolve(vae, crisp, looks, X=X, cells=cells, ranges=ranges, budget=4000, trust=0.05)
print(f"{archive.coverage:.0%} of the cells have a digit")

# %%
# Draw each digit in its cell. Heavy digits are at the right, and digits that lean to the right at the top. Cells stay grey where
# no digit that belongs to the data was found.

figure, ax = plt.subplots(figsize=(6.2, 5.8), layout="constrained")
canvas = np.full((cells[1], 10, cells[0], 10), np.nan)
for picture, cell in zip(archive.rows, archive.cell, strict=True):
    column, row = np.unravel_index(cell, cells)
    canvas[row, :, column] = np.pad(picture, 1)[::-1]
colours = plt.colormaps["gray_r"].with_extremes(bad="0.88")
(low, high), (left, right) = ranges
ax.imshow(
    canvas.reshape(cells[1] * 10, cells[0] * 10), cmap=colours, vmin=0, vmax=16, origin="lower",
    extent=(low, high, left, right), aspect="auto",
)  # fmt: skip
ax.set(xlabel="ink per pixel", ylabel="lean, pixels")
plt.show()
