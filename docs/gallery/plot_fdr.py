"""
Alarms with a known error rate
==============================

A detector that judges many rows raises some false alarms. ``predict(fdr=0.1)`` chooses the rows such that, on average, at most a
tenth of the alarms is false.
"""

# %%
# The rows are measurements of tumours. Fit a detector to benign ones only, and let it judge new benign ones and 30 malignant ones.
# A promise about an average cannot be seen in one run, so repeat this with other rows.

import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

import vaekit

warnings.simplefilter("ignore")  # a note says where no alarm is possible; here that is part of the result
X, y = load_breast_cancer(return_X_y=True)
malignant, benign = X[y == 0], X[y == 1]
levels = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
repeats = 15
false, found = np.zeros((2, repeats, len(levels)))
vae = vaekit.VAE(latent_dim=8, size="small", epochs=60, sampler="prior")
for seed in range(repeats):
    rng = np.random.default_rng(seed)
    normal = rng.permutation(benign)
    detector = vaekit.AnomalyDetector(vae, method="exemplars", calibration=0.5, random_state=seed).fit(normal[:280])
    new = np.concatenate([normal[280:], rng.permutation(malignant)[:30]])
    is_odd = np.arange(len(new)) >= len(new) - 30
    for i, fdr in enumerate(levels):
        alarms = detector.predict(new, fdr=fdr) == -1
        false[seed, i] = (alarms & ~is_odd).sum() / max(alarms.sum(), 1)
        found[seed, i] = alarms[is_odd].mean()

# %%
# The share of false alarms is below the line, as promised. A stricter promise finds fewer of the malignant tumours. With 140
# rows to compare with, no p-value is below 1/141, so at 0.05 the detector can raise an alarm only where it raises many at once.

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained")
left.plot([0, 0.5], [0, 0.5], "--", color="0.5", label="as asked")
for ax, values in ((left, false), (right, found)):
    error = 1.96 * values.std(0, ddof=1) / np.sqrt(repeats)
    ax.errorbar(levels, values.mean(0), error, fmt="o-", capsize=3, label=f"mean of {repeats} runs, 95 % interval")
    ax.set(xlabel="fdr", xlim=(0, 0.53))
left.set(title="false alarms, share of all alarms", ylim=(0, 0.68))
right.set(title="malignant tumours found", ylim=(0, 1.03))
left.legend(loc="upper left", frameon=False)
plt.show()
