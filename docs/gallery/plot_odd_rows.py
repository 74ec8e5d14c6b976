"""
Odd digits and their p-values
=============================

A detector learns what normal digits look like. Then it gives each new digit a p-value: a small one says that the digit is odd.
"""

# %%
# Fit the detector to 1,200 digits. It holds 30 % of them out of training and compares new digits with those. The digits come sorted
# by writer, so we shuffle them: a p-value holds for rows that come as the rows of ``fit`` did.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import vaekit

rng = np.random.default_rng(0)
X = rng.permutation(load_digits().images)
vae = vaekit.VAE(size="small", epochs=100, sampler="prior")
detector = vaekit.AnomalyDetector(vae, method="exemplars", calibration=0.3).fit(X[:1200])

# %%
# The other digits are new. Make some of them odd, in four ways.

new = X[1200:]
noisy = np.clip(new[:75] + rng.normal(scale=4, size=(75, 8, 8)), 0, 16)
turned = np.rot90(new[75:150], axes=(1, 2))
flipped = new[150:225, ::-1]
halves = np.concatenate([new[225:300, :4], new[300:375, 4:]], axis=1)
groups = {"normal": new[375:], "with noise": noisy, "on its side": turned, "upside down": flipped, "two halves": halves}
p = {name: detector.p_values(rows) for name, rows in groups.items()}

# %%
# The p-values of normal digits are spread evenly, so about 5 % of them are at most 0.05. Digits on their side are all found, and most
# noisy ones. Digits that are upside down or of two halves are harder: an 8 is an 8 upside down, and a half of a 3 on a
# half of a 5 is a good digit.

figure, axes = plt.subplots(5, 2, figsize=(6, 6), width_ratios=(1, 1.3), layout="constrained")
for (name, rows), (left, right) in zip(groups.items(), axes, strict=True):
    strip = np.pad(rows[:6], ((0, 0), (1, 1), (1, 1))).swapaxes(0, 1).reshape(10, 60)
    left.imshow(strip, cmap="gray_r", vmin=0, vmax=16)
    left.set(xticks=[], yticks=[])
    left.set_title(f"{name}, {len(rows)} digits", loc="left", fontsize=10)
    left.spines[:].set_visible(False)
    counts, bins = np.histogram(p[name], np.linspace(0, 1, 21))
    right.stairs(counts / len(rows), bins, fill=True, color="0.75")
    right.stairs(counts[:1] / len(rows), bins[:2], fill=True, color="C1")
    right.set_title(f"p ≤ 0.05 for {np.mean(p[name] <= 0.05):.0%}", loc="left", fontsize=10)
    right.set(ylim=(0, 1), yticks=(0, 0.5, 1), xticks=(0, 0.5, 1))
axes[4, 1].set_xlabel("p-value")
figure.suptitle("share of digits by p-value", fontsize=11)
plt.show()
