"""
Gaps in a table, filled several times
=====================================

Nobody knows what a gap held, so one filled value is not enough. Several draws show what it may have held.
"""

# %%
# The table has 30 measurements of cells in each of 569 tumours. Empty 30 % of its cells at random, and train on what is left: a VAE
# learns from rows with gaps.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.impute import KNNImputer, SimpleImputer

import vaekit

table = load_breast_cancer(as_frame=True).data
rng = np.random.default_rng(0)
gaps = rng.random(table.shape) < 0.3
broken = table.mask(gaps)
vae = vaekit.VAE(latent_dim=8, size="small", epochs=300, random_state=0).fit(broken)

# %%
# The best guess of each gap, beside two imputers of scikit-learn. The error is a share of the spread of a column: 1 is that of its mean.

spread = table.std()


def error(filled):
    return np.sqrt(np.mean(((np.asarray(filled) - table) / spread).to_numpy()[gaps] ** 2))


print(f"VAE {error(vae.impute(broken)):.2f}")
for imputer in (KNNImputer(), SimpleImputer()):
    scaled = imputer.fit_transform(broken / spread) * spread.to_numpy()
    print(f"{type(imputer).__name__} {error(scaled):.2f}")

# %%
# 100 draws of each gap, and the interval that has 90 % of them. If the draws are right, it has the true value in 90 % of the gaps. Here
# it is a little less: the draws are a little too sure.

draws = np.stack([np.asarray(filled) for filled in vae.impute(broken, draws=100, random_state=0)])
low, high = np.percentile(draws, (5, 95), axis=0)
inside = (low <= table) & (table <= high)
print(f"intervals with the true value: {inside.to_numpy()[gaps].mean():.1%} of {gaps.sum()}")

# %%
# Three columns, and 40 gaps of each, sorted by the true value. The other columns say much about the radius and little about the
# texture, and the intervals show it.

figure, axes = plt.subplots(3, 1, figsize=(6, 7), layout="constrained", sharex=True)
for ax, column in zip(axes, ("mean radius", "mean smoothness", "mean texture"), strict=True):
    place = table.columns.get_loc(column)
    rows = np.flatnonzero(gaps[:, place])[:40]
    rows = rows[np.argsort(table[column].iloc[rows])]
    ax.vlines(range(40), low[rows, place], high[rows, place], color="C0", alpha=0.5, linewidth=4, label="90 % of draws")
    ax.plot(range(40), table[column].iloc[rows], "_", color="black", markersize=9, label="true value")
    ax.set(title=column, xticks=[], ylim=(table[column].min(), table[column].max()))
axes[0].legend(loc="upper left")
axes[2].set_xlabel("40 gaps, sorted by the true value")
plt.show()
