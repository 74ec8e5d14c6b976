"""
A walk between two digits
=========================

Two digits have two codes. On the way from one code to the other, the decoder draws what lies between them.
"""

# %%
# Train a VAE without labels.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import vaekit

digits = load_digits()
X, y = digits.images, digits.target
vae = vaekit.VAE(latent_dim=8, size="small", epochs=150, sampler="prior", random_state=0).fit(X)

# %%
# Choose 60 pairs of digits with different labels, and walk from one to the other in 9 steps. For comparison, fade from the first
# picture of each walk into the last one, pixel by pixel.

rng = np.random.default_rng(0)
pairs = [(a, b) for a, b in rng.integers(len(X), size=(100, 2)) if y[a] != y[b]][:60]
steps = 9
walks = np.stack([vae.interpolate(X[a], X[b], steps) for a, b in pairs])
share = np.linspace(0, 1, steps)[:, None, None]
fades = (1 - share) * walks[:, :1] + share * walks[:, -1:]

# %%
# How likely are the pictures on the way? The model gives log p(x) in nats, and higher is better. A picture that is halfway in a fade
# shows two digits at once, and the model finds it less likely. The middle of a walk is even likelier than its ends, because smooth
# pictures without rare details are the likeliest ones.

log_p = {
    name: vae.score_samples(pictures.reshape(-1, 8, 8)).reshape(-1, steps)
    for name, pictures in (("fade", fades), ("walk", walks))
}

# %%
# The pictures are four of the pairs. The lines are the medians over all pairs, and the bands have the middle half of them.

figure = plt.figure(figsize=(6, 7.6), layout="constrained")
grid = figure.add_gridspec(5, 1, height_ratios=(1, 1, 1, 1, 2))
for i, pair in enumerate((1, 3, 6, 8)):
    ax = figure.add_subplot(grid[i])
    both = np.pad(np.stack([fades[pair], walks[pair]]), ((0, 0), (0, 0), (1, 1), (1, 1)))
    ax.imshow(both.swapaxes(1, 2).reshape(20, steps * 10), cmap="gray_r", vmin=0, vmax=16)
    ax.set(xticks=[], yticks=[4.5, 14.5], yticklabels=["fade", "walk"])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
ax = figure.add_subplot(grid[4])
for (name, values), style in zip(log_p.items(), ("--", "-"), strict=True):
    low, middle, high = np.percentile(values, (25, 50, 75), axis=0)
    ax.plot(range(1, steps + 1), middle, style, label=name)
    ax.fill_between(range(1, steps + 1), low, high, alpha=0.2)
ax.set(xlabel="step", ylabel="log p(x), nats", xticks=range(1, steps + 1))
ax.legend()
plt.show()
