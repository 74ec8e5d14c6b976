"""
The hole between the prior and the codes
========================================

A VAE draws new rows from the prior, a standard Normal. But the codes of the data do not fill it. A sampler that has learned where the
codes lie draws better rows.
"""

# %%
# Train one VAE, and learn two samplers on its codes: a mixture of Normals, which is the default of vaekit, and a flow.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors

import vaekit

X, X_test = train_test_split(load_digits().images, test_size=300, random_state=0)
vae = vaekit.VAE(size="small", network="mlp", epochs=100, sampler="gmm", random_state=0).fit(X)
vae.fit_sampler("flow", X)
new = {name: vae.sample(1000, sampler=name, random_state=0) for name in ("prior", "gmm", "flow")}

# %%
# How far is a new picture from the nearest digit of the training data? The 300 real digits that the model has not seen show what to
# expect of a good picture.

index = NearestNeighbors(n_neighbors=1).fit(X.reshape(-1, 64))
pictures = new | {"real": X_test}
distances = {name: index.kneighbors(rows.reshape(-1, 64))[0][:, 0] for name, rows in pictures.items()}

# %%
# Pictures from the prior are far from any digit. Those from the mixture and the flow are as near to one as real digits are. The
# distance does not show everything: the drawn pictures are means without noise, and some have faint strokes.

names = {"prior": "from the prior", "gmm": "from the mixture", "flow": "from the flow", "real": "real digits"}
figure, (top, bottom) = plt.subplots(2, 1, figsize=(6, 6.4), height_ratios=(1, 0.8), layout="constrained")
framed = np.pad([rows[:20] for rows in pictures.values()], ((0, 0), (0, 0), (1, 1), (1, 1)))
lines = framed.reshape(4, 2, 10, 10, 10).swapaxes(2, 3).reshape(4, 20, 100)
top.imshow(np.pad(lines, ((0, 0), (0, 4), (0, 0))).reshape(96, 100), cmap="gray_r", vmin=0, vmax=16)
top.set(xticks=[], yticks=np.arange(4) * 24 + 9.5, yticklabels=names.values())
top.tick_params(length=0)
top.spines[:].set_visible(False)
for (name, values), style in zip(distances.items(), ("C1-", "C0-", "C0--", "k:"), strict=True):
    bottom.plot(np.sort(values), np.linspace(0, 1, len(values)), style, label=names[name])
bottom.set(xlabel="distance to the nearest training digit", ylabel="share of pictures up to there", ylim=(0, 1))
bottom.legend()
plt.show()
