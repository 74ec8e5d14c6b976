"""Draws the figures of robots.md, from where its tutorial was run:

python docs/images/robots-figures.py stages              # robots-stages.svg
python docs/images/robots-figures.py routes              # robots-routes.png, of runs/two-routes and runs/published
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Circle, FancyBboxPatch

HERE = Path(__file__).parent
INK, MUTED, RULE, ACCENT, SECOND, PANEL = "#1d1e20", "#686b72", "#b9b7b0", "#1f6f8b", "#c8792c", "#f4f3ef"
ABOVE, BELOW, CRASHED = ACCENT, SECOND, "#c0392b"
EPISODES = 50


# -- the two stages ----------------------------------------------------------------------------------------------------


def box(axes, x, y, text, width=2.1, height=0.86, edge=INK, fill="white", ink=INK, style="-"):
    shape = FancyBboxPatch(
        (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.1",
        facecolor=fill, edgecolor=edge, linewidth=1.1, linestyle=style,
    )  # fmt: skip
    axes.add_patch(shape)
    axes.text(x, y, text, ha="center", va="center", fontsize=8.6, color=ink, linespacing=1.35)


def arrow(axes, start, end, colour=INK, style="-", bend=0.0):
    how = {"arrowstyle": "-|>,head_width=0.22,head_length=0.4", "color": colour, "linewidth": 1.1, "linestyle": style}
    axes.annotate("", end, start, arrowprops={**how, "shrinkA": 0, "shrinkB": 0, "connectionstyle": f"arc3,rad={bend}"})


def stage(axes, training):
    ink, style = (INK, "-") if training else (RULE, (0, (3, 2)))  # of what only training has
    axes.set_title("Training" if training else "Use", loc="left", fontsize=12, color=INK, fontweight="bold")

    actions = "actions that followed\nx, a chunk of them"
    box(axes, 1.3, 4.2, actions, fill=PANEL if training else "white", edge=ink, ink=ink, style=style)
    box(axes, 4.2, 4.2, "encoder\nreads actions and joints", 2.4, edge=ink, ink=ink, style=style)
    box(axes, 6.95, 4.2, "q(z|x, y)", width=1.3, edge=ink, ink=ink, style=style)
    arrow(axes, (2.35, 4.2), (3.0, 4.2), ink, style)
    arrow(axes, (5.4, 4.2), (6.3, 4.2), ink, style)

    box(axes, 1.3, 1.6, "what the robot sees\ny: joints, cameras", fill=PANEL)
    box(axes, 4.2, 2.6, "prior\nwhich ways there are", edge=ACCENT)
    box(axes, 6.95, 2.6, "p(z|y)", width=1.3, edge=ACCENT)
    arrow(axes, (2.35, 1.85), (3.15, 2.5), ACCENT)
    arrow(axes, (5.25, 2.6), (6.3, 2.6), ACCENT)
    arrow(axes, (2.0, 2.03), (3.4, 3.77), ink, style)

    axes.add_patch(Circle((9.0, 3.4 if training else 2.6), 0.34, facecolor=SECOND, edgecolor="none"))
    axes.text(9.0, 3.4 if training else 2.6, "z", ha="center", va="center", color="white", fontsize=11, style="italic")
    box(axes, 9.0, 1.0, "decoder\ncameras, joints and z in,\none query for each step", width=2.6, height=1.15)
    arrow(axes, (2.35, 1.3), (7.7, 1.0))
    box(axes, 12.3, 1.0, "predicted actions\na chunk of them", fill=PANEL)
    arrow(axes, (10.3, 1.0), (11.25, 1.0))
    arrow(axes, (9.0, 3.06 if training else 2.26), (9.0, 1.575), SECOND)
    if training:
        arrow(axes, (7.6, 4.05), (8.7, 3.55), SECOND)
        axes.annotate(
            "", (6.95, 3.03), (6.95, 3.77), arrowprops={"arrowstyle": "<->", "color": SECOND, "linewidth": 1.1}
        )
        axes.text(7.1, 3.4, "KL", va="center", fontsize=9, color=SECOND)
        axes.plot([12.3, 12.3], [1.43, 5.1], color=SECOND, linewidth=1.1, linestyle=(0, (3, 2)))
        axes.plot([1.3, 12.3], [5.1, 5.1], color=SECOND, linewidth=1.1, linestyle=(0, (3, 2)))
        axes.plot([1.3, 1.3], [5.1, 4.63], color=SECOND, linewidth=1.1, linestyle=(0, (3, 2)))
        axes.text(12.15, 3.2, "log p(x|z, y):\nhow near they come", ha="right", va="center", fontsize=9, color=SECOND)
    else:
        arrow(axes, (7.6, 2.6), (8.66, 2.6), SECOND)
        axes.text(8.13, 2.78, "draw", ha="center", fontsize=9, color=SECOND)
        axes.text(4.2, 4.85, "left out: there are no actions to read yet", ha="center", fontsize=8.6, color=MUTED)
        axes.text(
            12.3,
            2.1,
            "to the robot, by\ntemporal ensembling\nor K of each chunk",
            ha="center",
            va="center",
            fontsize=9,
            color=MUTED,
        )
    axes.set(xlim=(0, 13.6), ylim=(0.3, 5.35))
    axes.set_aspect("equal")
    axes.axis("off")


def stages():
    figure, axes = plt.subplots(2, 1, figsize=(9.6, 7.6), layout="constrained")
    for each, training in zip(axes, (True, False), strict=True):
        stage(each, training)
    figure.savefig(HERE / "robots-stages.svg", facecolor="white", metadata={"Date": None})


# -- two routes --------------------------------------------------------------------------------------------------------


def paths(run, z, *, one_start):
    """Where the point went in each episode (steps, 2), and its route: 1 above, -1 below, 0 crashed."""
    from vaekit.robots.environments import make
    from vaekit.robots.rollout import load_policy

    policy, environment = load_policy(Path(run), z=z), make("two-routes")
    for i in range(EPISODES):
        seed = 1000 if one_start else 1000 + i
        observation, over = environment.reset(seed), False
        policy.reset(1000 + i)
        while not over:
            observation, _, over = environment.step(policy.act(observation))
        yield np.array(environment.path), environment.route if environment.success else 0


def routes():
    from vaekit.robots.environments.two_routes import GOAL, OBSTACLE, RADIUS

    columns = {
        "z drawn from the mixture p(z|y)": ("runs/two-routes", "episode"),
        "the same policy, z = mean of p(z|y)": ("runs/two-routes", "mean"),
        "ACT as published, z = 0": ("runs/published", "mean"),
    }
    figure, grid = plt.subplots(2, 3, figsize=(9.6, 5.6), layout="constrained")
    for column, (title, (run, z)) in zip(grid.T, columns.items(), strict=True):
        for axes, one_start in zip(column, (True, False), strict=True):
            axes.add_patch(Circle(OBSTACLE, RADIUS, color="#8d99ae"))
            axes.plot(*GOAL, "o", color="#2a9d8f", markersize=7, zorder=3)
            count = {1: 0, -1: 0, 0: 0}
            for path, route in paths(run, z, one_start=one_start):
                count[route] += 1
                colour = {1: ABOVE, -1: BELOW, 0: CRASHED}[route]
                axes.plot(*path.T, color=colour, linewidth=1, alpha=0.6, zorder=4 if route == 0 else 2)
            said = f"{count[1]} above, {count[-1]} below, {count[0]} failed"
            axes.set_xlabel(said, fontsize=9, color=INK)
            print(f"{title}, {'one start' if one_start else 'other starts'}: {said}")
            axes.set(xlim=(-1, 1), ylim=(-0.8, 0.8), xticks=[], yticks=[], aspect="equal")
            axes.spines[:].set_color(RULE)
        column[0].set_title(title, fontsize=10, color=INK)
    grid[0, 0].set_ylabel(f"one start, {EPISODES} episodes", fontsize=9, color=MUTED)
    grid[1, 0].set_ylabel(f"{EPISODES} starts", fontsize=9, color=MUTED)
    figure.savefig(HERE / "robots-routes.png", dpi=130, facecolor="white")


if __name__ == "__main__":
    matplotlib.use("Agg")
    matplotlib.rcParams |= {"font.family": "DejaVu Sans", "svg.hashsalt": "vaekit"}
    {"stages": stages, "routes": routes}[sys.argv[1]]()
