"""
What a nat of KL buys
=====================

The KL says how many nats z carries about a row. More nats allow better reconstructions. This curve shows the exchange.
"""

# %%
# Train one model for each value of beta, the weight of the KL, and one with the default, which learns the scale of the noise.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import vaekit

X = load_digits().images / 16
train, test = X[:1500], X[1500:]


def measure(**settings):
    """KL in nats and root mean squared error on rows that the model has not seen."""
    vae = vaekit.VAE(size="small", network="mlp", epochs=80, sampler="prior", random_state=0, **settings).fit(train)
    error = np.sqrt(np.mean((vae.reconstruct(test) - test) ** 2))
    return vae.evaluate(test, k=1)["kl"], error


betas = [1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001]
fixed = {"name": "normal", "scale": 1}
curve = np.array([measure(likelihood=fixed, objective={"name": "elbo", "beta": beta}) for beta in betas])
learned = measure()

# %%
# The default is one point of the curve. It costs one run, where a search over beta costs seven. The last values of beta buy
# little: the error hardly falls, although the KL doubles.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
ax.plot(*curve.T, "o-", label="fixed scale 1, beta given")
for beta, (kl, error) in zip(betas, curve, strict=True):
    ax.annotate(f"{beta:g}", (kl, error), (5, 5), textcoords="offset points")
ax.plot(*learned, "*", color="C1", markersize=16, label="learned scale")
ax.set(xlim=(-2, 62), xlabel="KL, nats", ylabel="root mean squared error")
ax.legend()
plt.show()
