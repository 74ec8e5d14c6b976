"""
The balance of reconstruction and KL
====================================

The loss of a VAE is the sum of two costs: the reconstruction and the KL. Many VAEs weight the KL by a factor beta, which has to be
tuned. vaekit learns how large the noise of the pixels is, and then needs no factor.
"""

# %%
# A squared error is a Normal likelihood of a fixed scale. Here the pixels are between 0 and 1. Train with scale 1 and three values of
# beta. Then train with the default, which learns the scale.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import vaekit

X = load_digits().images / 16
train, test = X[:1500], X[1500:]
fixed = {"name": "normal", "scale": 1}
settings = {
    f"beta {beta:g}": {"likelihood": fixed, "objective": {"name": "elbo", "beta": beta}} for beta in (1, 0.1, 0.01)
}
settings["learned scale"] = {}
models = {
    name: vaekit.VAE(size="small", network="mlp", epochs=100, sampler="prior", random_state=0, **given).fit(train)
    for name, given in settings.items()
}

# %%
# Rebuild digits that the models have not seen, and draw new ones from the prior.

rebuilt = {name: model.reconstruct(test) for name, model in models.items()}
drawn = {name: model.sample(8, random_state=1) for name, model in models.items()}
for name in models:
    print(f"{name}: root mean squared error {np.sqrt(np.mean((rebuilt[name] - test) ** 2)):.3f}")

# %%
# With beta 1 all pictures are the same blur: a scale of 1 says that noise may be as large as the picture, so z is not worth its cost.
# With beta 0.01 the reconstructions are sharp, but the codes lie far from the prior, so the new digits are poor. The learned
# scale is between the two, without a search. The new digits are still worse than the reconstructions; the page
# :ref:`sphx_glr_generated_gallery_plot_prior_hole.py` has the cure.


def strip(pictures):
    """Pictures (N, 8, 8) in a line, with a margin of one pixel."""
    return np.pad(pictures, ((0, 0), (1, 1), (1, 1))).swapaxes(0, 1).reshape(10, -1)


chosen = [2, 5, 6, 12, 26, 28, 32, 37]
rows = {"original": test} | rebuilt
figure, (left, right) = plt.subplots(1, 2, figsize=(7.2, 2.7), layout="constrained")
left.imshow(np.concatenate([strip(pictures[chosen]) for pictures in rows.values()]), cmap="gray_r", vmin=0, vmax=1)
blank = np.zeros((10, 80))
right.imshow(np.concatenate([blank] + [strip(pictures) for pictures in drawn.values()]), cmap="gray_r", vmin=0, vmax=1)
left.set(title="reconstructions", yticks=np.arange(5) * 10 + 4.5, yticklabels=list(rows))
right.set(title="new digits", yticks=[])
for ax in (left, right):
    ax.set_xticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
plt.show()
