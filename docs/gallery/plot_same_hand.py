"""
The same hand, another label
============================

In a conditional VAE the label says which digit it is. So z can leave that out, and keep what is left: weight, slant and width of the
writing. Keep z, change the label, and see.
"""

# %%
# Train on digits with their labels.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import vaekit

digits = load_digits()
X, y = digits.images, digits.target
cvae = vaekit.CVAE(size="small", latent_dim=8, epochs=150, sampler="prior", random_state=0).fit(X, y)

# %%
# Take one digit of each label. Encode it with its own label, and decode its code with each of the ten labels.

ink = X.mean((1, 2))
chosen = [np.flatnonzero(y == label)[np.argsort(ink[y == label])[(-1) ** label * 12]] for label in range(10)]
written = np.stack([cvae.reconstruct(X[chosen], y[chosen], to=label) for label in range(10)], axis=1)

# %%
# Does z keep the weight of the writing? Compare the ink of the digits in a row with the ink of the digit that it comes from.

from_ink, to_ink = X[chosen].mean((1, 2)), written.mean((1, 2, 3))
print(f"correlation of the ink: {np.corrcoef(from_ink, to_ink)[0, 1]:.2f}")

# %%

figure, (left, right) = plt.subplots(1, 2, figsize=(6, 5.2), width_ratios=(1, 10), layout="constrained")
left.imshow(np.pad(X[chosen], ((0, 0), (1, 1), (1, 1))).reshape(100, 10), cmap="gray_r", vmin=0, vmax=16)
framed = np.pad(written, ((0, 0), (0, 0), (1, 1), (1, 1)))
right.imshow(framed.swapaxes(1, 2).reshape(100, 100), cmap="gray_r", vmin=0, vmax=16)
left.set(title="real", xticks=[], yticks=[])
right.set(title="the same z with another label", xticks=np.arange(10) * 10 + 4.5, xticklabels=range(10), yticks=[])
right.tick_params(length=0)
plt.show()
