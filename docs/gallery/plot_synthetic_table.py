"""
A table, real and synthetic
===========================

A model of a table draws new rows. Their columns should be distributed like the real ones, and should depend on each other in the same way.
"""

# %%
# The table has 2,500 people of the census of the USA in 1994: numbers and categories, with gaps. It comes with vaekit.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

import vaekit
from vaekit import bundled

people = pd.read_csv(bundled.write("people", Path(tempfile.mkdtemp()) / "people.csv"))
train = people.sample(2000, random_state=0)
test = people.drop(train.index)
vae = vaekit.VAE(size="small", epochs=150, random_state=0).fit(train)
synthetic = vae.sample(2000, random_state=0)

# %%
# A classifier that learned from synthetic rows should predict the income of real people about as well as one that learned from real
# rows. This is the area under the ROC curve on 500 people that the model has not seen.


def numbers(table):
    """The columns as numbers, with a column of 0 and 1 for each category."""
    wide = pd.get_dummies(table, dtype=float)
    return wide.reindex(columns=pd.get_dummies(people).columns, fill_value=0.0)


def auc(rows):
    """Learn to predict the income from these rows, and try it on the test rows."""
    (X, y), (X_test, y_test) = ((numbers(part.drop(columns="income")), part["income"]) for part in (rows, test))
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0).fit(X, y)
    return roc_auc_score(y_test, model.predict_proba(X_test)[:, 1])


print(f"learned from real rows {auc(train):.3f}, from synthetic rows {auc(synthetic):.3f}")

# %%
# The upper panels compare the distributions of four columns. The lower panel compares correlations: each point is a pair of columns.
# The points would lie on the line if the dependence was the same. The strong correlations are a little weaker in the synthetic rows.

figure, axes = plt.subplot_mosaic(
    [["age", "hours"], ["education", "occupation"], ["pairs", "pairs"]],
    figsize=(6.4, 8.6), height_ratios=(1, 1.7, 1.6), layout="constrained",
)  # fmt: skip
for name, width in (("age", 5), ("hours", 10)):
    bins = np.arange(0, 101, width)
    axes[name].hist(train[name], bins, density=True, color="0.8", label="real")
    axes[name].hist(synthetic[name], bins, density=True, histtype="step", color="C0", linewidth=1.8, label="synthetic")
    axes[name].set(title=name, yticks=[])
for name in ("education", "occupation"):
    shares = pd.DataFrame({"real": train[name].value_counts(True), "synthetic": synthetic[name].value_counts(True)})
    shares = shares.fillna(0).sort_values("real").tail(9)
    axes[name].barh(shares.index, shares["real"], color="0.8")
    axes[name].plot(shares["synthetic"], shares.index, "o", color="C0", markersize=5)
    axes[name].set(title=name, xlabel="share of rows")
wide = numbers(train)
frequent = wide.columns[(wide != 0).mean() > 0.02]
upper = np.triu_indices(len(frequent), 1)
real, new = (numbers(table)[frequent].corr().to_numpy()[upper] for table in (train, synthetic))
axes["pairs"].axline((0, 0), slope=1, color="0.6", linewidth=1)
axes["pairs"].scatter(real, new, s=6, alpha=0.6)
axes["pairs"].set(
    title=f"correlations of {len(real):,} pairs", xlabel="real", ylabel="synthetic", xlim=(-1, 1), ylim=(-1, 1)
)
figure.legend(*axes["age"].get_legend_handles_labels(), loc="outside upper center", ncols=2)
plt.show()
