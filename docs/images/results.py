"""Draws results.png, the picture at the top of the README, from four models that it trains: python docs/images/results.py

It takes two minutes. The seeds are fixed, and no result was chosen among several.
"""

import io
import tempfile
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from shots import HERE, opened, shrink
from shots import vaekit as command

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.image import imread
from sklearn.datasets import load_digits

import vaekit
from vaekit import bundled
from vaekit.robots.environments import demonstrate, make
from vaekit.robots.environments.two_routes import GOAL, OBSTACLE, RADIUS

INK, MUTED, ACCENT, SECOND, SHADE = "#1d1e20", "#686b72", "#1f6f8b", "#d08a3c", "#dddbd4"


def digits(axes):
    """New digits of each label."""
    data = load_digits()
    cvae = vaekit.CVAE(size="small", epochs=150, random_state=0).fit(data.images, data.target)
    new = cvae.sample(140, np.repeat(np.arange(10), 14), random_state=0)
    framed = np.pad(new, ((0, 0), (1, 1), (1, 1))).reshape(10, 14, 10, 10).swapaxes(1, 2).reshape(100, 140)
    axes.imshow(framed, cmap="gray_r", vmin=0, vmax=16, aspect="auto")
    axes.set(xticks=[], yticks=np.arange(10) * 10 + 4.5, yticklabels=range(10), ylabel="label")
    axes.tick_params(length=0)


def table(left, right, folder):
    """The columns of a synthetic table beside the real ones."""
    real = pd.read_csv(bundled.write("people", folder / "people.csv"))
    new = vaekit.VAE(size="small", epochs=150, random_state=0).fit(real).sample(len(real), random_state=0)
    bins = np.arange(15, 95, 5)
    left.hist(real["age"], bins, density=True, color=SHADE, label="real")
    left.hist(new["age"], bins, density=True, histtype="step", color=ACCENT, linewidth=2.5, label="synthetic")
    left.set(title="age", yticks=[], xticks=(20, 40, 60, 80))
    rate = {"real": real, "synthetic": new}
    shares = pd.DataFrame(
        {name: (rows["income"] == ">50K").groupby(rows["education"]).mean() for name, rows in rate.items()}
    )
    shares = shares.loc[real["education"].value_counts().index[:7]].sort_values("real")
    right.barh(shares.index, shares["real"], color=SHADE)
    right.plot(shares["synthetic"], shares.index, "o", color=ACCENT, markersize=9)
    right.legend(*left.get_legend_handles_labels(), frameon=False, loc="lower right", handlelength=1)
    right.set(title="high income, share", xlim=(0, 0.75), xticks=(0, 0.25, 0.5, 0.75))


def routes(axes):
    """Episodes that a policy drives from one start."""
    policy = vaekit.Policy(latent_dim=4, chunk_size=37, size="small", epochs=10, execute=10, random_state=0)
    policy.fit(demonstrate("two-routes", 120, 0))
    environment = make("two-routes")
    axes.add_patch(plt.Circle(OBSTACLE, RADIUS, color=SHADE))
    axes.plot(*GOAL, "*", color=INK, markersize=22, zorder=3)
    arrived, above = 0, 0
    for episode in range(40):
        observation, over = environment.reset(1000), False
        policy.reset(episode)
        while not over:
            observation, _, over = environment.step(policy.act(observation))
        arrived, above = arrived + environment.success, above + (environment.route > 0)
        colour = ACCENT if environment.route > 0 else SECOND
        axes.plot(*np.array(environment.path).T, color=colour, linewidth=1.6, alpha=0.7)
    axes.plot(*environment.path[0], "o", color=INK, markersize=9, zorder=3)
    axes.set(xlim=(-1, 1), ylim=(-0.68, 0.68), xticks=[], yticks=[], aspect="equal")
    axes.set_xlabel(f"40 episodes: {above} above, {40 - above} below, {arrived} at the goal")


def explorer(axes, folder):
    """The page of `vaekit explore`, with the pointer on the map."""
    command("fit", "digits", "--size", "small", "--latent-dim", 2, "--epochs", 250, "--out", "digits", cwd=folder)
    command("export", "digits", "--html", "-o", "map.html", cwd=folder)
    with opened(folder / "map.html", 1180, 770) as page:
        page.wait_for_selector("[data-map]")
        page.wait_for_timeout(1500)
        page.mouse.move(250, 450)
        page.wait_for_timeout(1000)
        picture = imread(io.BytesIO(page.screenshot()))
    axes.imshow(picture, interpolation="lanczos", aspect="auto")
    axes.set(xticks=[], yticks=[])


plt.rcParams |= {
    "font.size": 19,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
}
plt.rcParams |= {"axes.edgecolor": SHADE, "xtick.color": SHADE, "ytick.color": SHADE, "axes.titlesize": 19}
figure = plt.figure(figsize=(16, 12.4), layout="constrained")
figure.get_layout_engine().set(w_pad=0.12, h_pad=0.12)
panels = figure.subfigures(2, 2, wspace=0.03, hspace=0.03, height_ratios=(1, 1))
titles = (
    "New digits, a label at a time",
    "A table, real and synthetic",
    "A policy that knows two ways",
    "A page to explore the latent",
)
for panel, title in zip(panels.flat, titles, strict=True):
    panel.suptitle(title, fontsize=25, fontweight="bold", x=0.02, ha="left")
with tempfile.TemporaryDirectory() as name:
    digits(panels[0, 0].subplots())
    table(*panels[0, 1].subplots(1, 2), Path(name))
    routes(panels[1, 0].subplots())
    explorer(panels[1, 1].subplots(), Path(name))
figure.savefig(HERE / "results.png", dpi=100, facecolor="white")
shrink(HERE / "results.png")
