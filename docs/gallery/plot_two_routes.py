"""
A policy with and without a latent
==================================

A point has to get round an obstacle. The demonstrator goes above it or below it, and both are right. A policy with a latent learns
both routes.
"""

# %%
# Record 120 demonstrations. Then train two policies: one with four latent units, and the same network without a latent.

import matplotlib.pyplot as plt
import numpy as np

import vaekit
from vaekit.robots.environments import demonstrate, make
from vaekit.robots.environments.two_routes import GOAL, OBSTACLE, RADIUS

demonstrations = demonstrate("two-routes", 120, 0)
settings = {"chunk_size": 37, "size": "small", "epochs": 10, "execute": 10, "random_state": 0}
policies = {units: vaekit.Policy(latent_dim=units, **settings).fit(demonstrations) for units in (4, 0)}

# %%
# Let each policy act in 30 episodes that all begin at the same place. The latent is drawn once in each episode.

environment = make("two-routes")


def drive(policy, episode):
    """The path of one episode (steps, 2), and whether it reached the goal."""
    observation, over = environment.reset(1000), False
    policy.reset(episode)
    while not over:
        observation, _, over = environment.step(policy.act(observation))
    return np.array(environment.path), environment.success


driven = {units: [drive(policy, episode) for episode in range(30)] for units, policy in policies.items()}

# %%
# Both policies reach the goal, so the rate of success does not tell them apart. The policy with a latent takes both routes. The one
# without a latent takes the same route each time.

shown = {"demonstrations": np.split(demonstrations.observations["state"], demonstrations.episode_ends[:-1])[:30]}
for units, paths in driven.items():
    shown[f"{units} latent units" if units else "no latent"] = [path for path, _ in paths]
    print(f"{units} latent units: {sum(success for _, success in paths)} of 30 episodes reach the goal")

figure, axes = plt.subplots(3, 1, figsize=(5, 9), layout="constrained", sharex=True)
for ax, (name, paths) in zip(axes, shown.items(), strict=True):
    ax.add_patch(plt.Circle(OBSTACLE, RADIUS, color="0.75"))
    ax.plot(*GOAL, "*", color="black", markersize=13, zorder=3)
    above = [np.interp(0, *path.T) > 0 for path in paths]
    for path, is_above in zip(paths, above, strict=True):
        ax.plot(*path.T, color="C0" if is_above else "C1", linewidth=1, alpha=0.7)
    ax.set(title=f"{name}: {sum(above)} above, {len(above) - sum(above)} below", aspect="equal", xticks=[], yticks=[])
    ax.set(xlim=(-1, 1), ylim=(-0.72, 0.72))
plt.show()
