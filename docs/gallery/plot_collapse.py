"""
Posterior collapse, seen and cured
==================================

A VAE has collapsed when its decoder ignores z. The KL of each latent unit shows it, and several settings cure it.
"""

# %%
# A fixed scale that is much too large is the usual reason. Here it is as large as the range of the pixels. Train
#
# - as it is,
# - with free bits: a KL of up to 0.5 nats per unit costs nothing,
# - with a floor: a controller holds the KL at 8 nats or more,
# - with a learned scale, which is the default.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import vaekit

X = load_digits().images / 16
train, test = X[:1500], X[1500:]
fixed = {"name": "normal", "scale": 1}
settings = {
    "scale 1": {"likelihood": fixed},
    "scale 1, free bits": {"likelihood": fixed, "objective": {"name": "free_bits", "nats": 0.5}},
    "scale 1, KL floor": {"likelihood": fixed, "objective": {"name": "kl_floor", "nats": 8}},
    "learned scale": {},
}
models = {
    name: vaekit.VAE(size="small", network="mlp", epochs=100, sampler="prior", random_state=0, **given).fit(train)
    for name, given in settings.items()
}
results = {name: model.evaluate(test, k=10) for name, model in models.items()}
for name, found in results.items():
    print(f"{name}: {found['verdict']}\n")

# %%
# Sort the units of each model by their KL. With the large scale no unit carries anything. Free bits hardly help, because codes
# that say nothing use up what is free. The floor makes z say something, and so does the right scale, which needs no choice of nats.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for (name, found), marker in zip(results.items(), "osD^", strict=True):
    ax.semilogy(
        range(1, 17), np.sort(found["kl_per_unit"])[::-1], marker + "-", label=f"{name}: {found['kl']:.1f} nats"
    )
ax.set(xlabel="latent unit, sorted", ylabel="KL of the unit, nats", xticks=(1, 4, 8, 12, 16), ylim=(1e-4, 5))
ax.legend(loc="center left", bbox_to_anchor=(0, 0.33))
plt.show()
