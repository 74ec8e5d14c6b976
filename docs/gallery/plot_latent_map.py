"""
A map of the latent
===================

With two latent units, all of the latent fits on a page. The map shows where the digits lie and what the decoder draws at each place.
"""

# %%
# Two units are too few for good digits, but enough for a map. The labels are not used in training.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import vaekit

digits = load_digits()
X, y = digits.images, digits.target
vae = vaekit.VAE(latent_dim=2, size="small", epochs=200, sampler="prior", random_state=0).fit(X)
codes = vae.transform(X)

# %%
# Take places of the map at equal steps, and decode them.

n, edge = 13, 2.4
ticks = np.linspace(-edge, edge, n)
places = np.stack(np.meshgrid(ticks, ticks[::-1]), axis=-1).reshape(-1, 2)
decoded = vae.inverse_transform(places)

# %%
# The left panel has the codes of the data, with each label at the median of its codes. The right panel has the decoded places.

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 4.3), layout="constrained")
for label in range(10):
    left.scatter(*codes[y == label].T, s=4, color=plt.cm.tab10(label), alpha=0.6, linewidths=0)
for label in range(10):
    left.text(
        *np.median(codes[y == label], axis=0), label, ha="center", va="center", fontweight="bold",
        bbox={"boxstyle": "circle", "facecolor": "white", "edgecolor": plt.cm.tab10(label)},
    )  # fmt: skip
picture = np.pad(decoded, ((0, 0), (1, 1), (1, 1))).reshape(n, n, 10, 10).swapaxes(1, 2).reshape(n * 10, n * 10)
right.imshow(picture, cmap="gray_r", vmin=0, vmax=16, extent=(-2.6, 2.6, -2.6, 2.6))
left.set(title="where the digits lie", ylabel="unit 1", xlim=(-2.6, 2.6), ylim=(-2.6, 2.6))
right.set(title="what the decoder draws there")
for ax in (left, right):
    ax.set(xlabel="unit 0", aspect="equal", xticks=range(-2, 3), yticks=range(-2, 3))
plt.show()
