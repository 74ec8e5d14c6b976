"""The report of a policy: held-out episodes with the chunks predicted along them, and the effect of z."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from vaekit.conditions import Picture
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.draws import draw_chunks
from vaekit.robots.environments import ENVIRONMENTS
from vaekit.robots.policy import Policy
from vaekit.show.drawing import ACCENT, COLOURS, INK, MUTED, Panel, grid, picture, shrink, svg
from vaekit.show.report import Report
from vaekit.show.words import nats, number
from vaekit.training.data import VALIDATION, generator

NUMBERS, EPISODES, PANELS = 12, 3, 12  # the most numbers of an action, episodes, and panels of episodes that are shown
CHUNKS = 5  # predicted along an episode
FRAMES, DRAWS, DRAWN = 64, 16, 12  # observations at which z varies, samples of z at each, and how many are plotted
SIDE = 128  # of a camera's picture, in pixels


class PolicyReport(Report):
    row: ClassVar[str] = "chunk"

    def spread(self) -> np.ndarray:
        return np.asarray(self.results["kl_per_unit"])

    def contents(self) -> dict[str, Any]:
        policy, demonstrations = self.estimator, self.held_out
        return {
            "episodes": episodes(policy, demonstrations),
            "latent": latent(policy, demonstrations) if policy.latent_dim else None,
        }

    def about(self) -> dict[str, Any]:
        kind, data = self.kind, self.estimator.data_
        return {
            "model": "Policy: a conditional variational autoencoder of action chunks",
            "row": self.row,
            "episodes": in_words(data["episodes"]),
            "frames": f"{data['rows']:,} frames",
            "given": [
                f"{name} ({c.width}×{c.height} pixels)" if isinstance(c, Picture) else f"{name} ({c.size})"
                for name, c in self.conditions.items()
            ],
            "numbers": len(kind.mean),
            "chunk": f"{kind.chunk_size} actions, {number(kind.chunk_size / kind.fps)} s",
            "shown": in_words(self.held_out.episodes),
        }

    def commands(self) -> list[tuple[str, str]]:
        run, source = self.run, Path(self.raw_source).name
        there = f"--env {source if source in ENVIRONMENTS else 'ENV'}"
        k = max(1, self.kind.chunk_size // 4)
        return [
            ("Test it in a simulator, on seeds that it has not seen", f"vaekit rollout {run} {there}"),
            (f"Play {k} actions of each chunk", f"vaekit rollout {run} {there} --execute {k}"),
            ("The same, with a new z for each chunk", f"vaekit rollout {run} {there} --z chunk --execute {k}"),
            ("Evaluate it on other demonstrations", f"vaekit evaluate {run} SOURCE"),
            ("Export it for a robot that has no PyTorch", f"vaekit export {run} -o policy.onnx"),
            ("Go on in Python", f"import vaekit; policy = vaekit.load({self.path!r}); policy.act(observation)"),
        ]


def in_words(episodes: int) -> str:
    return f"{episodes:,} episode{'s' if episodes > 1 else ''}"


def names_of(policy: Policy) -> list[str]:
    """Names of the numbers of an action."""
    return policy.kind_.names or [f"action {i}" for i in range(len(policy.kind_.mean))]


def episodes(policy: Policy, demonstrations: Demonstrations) -> list[dict[str, Any]]:
    """The demonstrated actions of some episodes, and the chunks that the policy predicts along them."""
    shown = min(EPISODES, max(1, PANELS // len(policy.kind_.mean)), demonstrations.episodes)
    return [
        {"title": f"Episode {i + 1} of {demonstrations.episodes}", "panels": episode(policy, demonstrations[i])}
        for i in range(shown)
    ]


def episode(policy: Policy, demonstration: Demonstrations) -> list[Panel]:
    frames, fps, chunk_size = len(demonstration), policy.kind_.fps, policy.kind_.chunk_size
    starts = np.unique(np.linspace(0, max(0, frames - chunk_size // 2 - 1), CHUNKS).astype(int))
    chunks = [policy.predict(seen(policy, demonstration, [start]), noise_seed=(policy.seed_, 0))[0] for start in starts]
    panels = []
    for i, name in enumerate(names_of(policy)[:NUMBERS]):

        def draw(axes: Axes, i: int = i) -> None:
            axes.plot(np.arange(frames) / fps, demonstration.actions[:, i], color=MUTED, linewidth=3.5, alpha=0.45)
            for start, chunk in zip(starts, chunks, strict=True):
                ahead = chunk[: frames - start, i]
                time = (start + np.arange(len(ahead))) / fps
                axes.plot(time, ahead, color=ACCENT, linewidth=1.1)
                axes.plot(time[0], ahead[0], "o", color=ACCENT, markersize=3.5)
            seconds_axis(axes)

        label = f"{name} over {number(frames / fps)} s: demonstrated, and {len(chunks)} predicted chunks"
        panels.append(Panel(name, svg(draw, label, 3.3, 2.0)))
    return panels


def seconds_axis(axes: Axes) -> None:
    axes.set_xlabel("seconds")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def seen(policy: Policy, demonstrations: Demonstrations, frames: Any) -> dict[str, np.ndarray]:
    """The policy's observations at these frames, (N, ...) by name."""
    return {name: demonstrations.offered[name][frames] for name in policy.conditions_.named}


@dataclass
class Draws:
    """Chunks for one observation, each with its own z."""

    frame: int
    chunks: np.ndarray  # (draws, chunk_size, A), in the robot's own units
    steps: int  # of the chunk that lie within the episode


@torch.no_grad()
def most_varied(policy: Policy, demonstrations: Demonstrations) -> tuple[Draws, np.ndarray, np.ndarray]:
    """Among some observations, the one at which chunks differ most with z ~ p(z|y), with its chunks; and for each observation, its
    place in its episode, from 0 to 1, and how far chunks differ there, in standard deviations of the actions."""
    count, chunk_size = len(demonstrations), policy.kind_.chunk_size
    frames = np.unique(np.linspace(0, count - 1, FRAMES).astype(int))
    frames = np.unique(np.concatenate([demonstrations.episode_starts[:FRAMES], frames]))  # where ways part most often
    y = policy.pack_observations(seen(policy, demonstrations, frames))
    noise = partial(torch.randn, generator=generator(policy.seed_, VALIDATION))
    drawn = draw_chunks(policy.model_, y, DRAWS, noise)  # (draws, frames, A, chunk_size)
    chunks = policy.kind_.unpack(drawn)  # (draws, frames, chunk_size, A)
    which = np.searchsorted(demonstrations.episode_ends, frames, side="right")
    left = np.minimum(demonstrations.episode_ends[which] - frames, chunk_size)
    inside = np.arange(chunk_size) < left[:, None]  # (frames, chunk_size)
    variance = (chunks / np.asarray(policy.kind_.scale)).var(0).mean(-1)  # (frames, chunk_size)
    spread = np.sqrt((variance * inside).sum(1) / inside.sum(1))
    best = int(spread.argmax())
    place = (frames - demonstrations.episode_starts[which]) / demonstrations.lengths[which]
    return Draws(int(frames[best]), chunks[:, best], int(left[best])), place, spread


def latent(policy: Policy, demonstrations: Demonstrations) -> dict[str, Any]:
    """Several chunks for the observation at which z does most, and how much z does over the course of an episode."""
    drawn, place, spread = most_varied(policy, demonstrations)
    fps, steps = policy.kind_.fps, drawn.steps
    time = np.arange(steps) / fps
    panels = []
    for i, name in enumerate(names_of(policy)[:NUMBERS]):

        def draw(axes: Axes, i: int = i) -> None:
            demonstrated = demonstrations.actions[drawn.frame : drawn.frame + steps, i]
            axes.plot(time, demonstrated, color=INK, linewidth=2, linestyle=(0, (1.5, 1)), zorder=3)
            for chunk, colour in zip(drawn.chunks[:DRAWN], COLOURS, strict=False):
                axes.plot(time, chunk[:steps, i], color=colour, linewidth=1.2)
            seconds_axis(axes)

        label = f"{name} of {DRAWN} chunks, each with a z of its own, from one observation"
        panels.append(Panel(name, svg(draw, label, 3.3, 2.2)))

    def draw_spread(axes: Axes) -> None:
        axes.plot(place, spread, "o", color=ACCENT, markersize=4, markeredgewidth=0, alpha=0.7)
        axes.set_ylim(0, max(0.5, 1.08 * spread.max()))  # so that a dead latent looks dead
        axes.set_xlim(-0.02, 1.02)
        axes.set_xticks([0, 0.5, 1], ["begin", "middle", "end"])
        axes.set_xlabel("of its episode")
        axes.set_ylabel("standard deviations")

    which = int(np.searchsorted(demonstrations.episode_ends, drawn.frame, side="right"))
    frame = drawn.frame - int(demonstrations.episode_starts[which])
    return {
        "panels": panels,
        "draws": DRAWN,
        "place": f"{f'{number(frame / fps)} s after' if frame else 'at'} the beginning of episode {which + 1}",
        "spread": nats(spread.max()),
        "cameras": cameras(policy, demonstrations, drawn.frame),
        "over_time": svg(draw_spread, "How far chunks differ by z, over the time of an episode", 5.6, 2.0),
    }


def cameras(policy: Policy, demonstrations: Demonstrations, frame: int) -> list[tuple[str, Markup]]:
    """The pictures of an observation."""
    found = []
    for name, c in policy.conditions_.named.items():
        if isinstance(c, Picture):
            image = grid(shrink(demonstrations.observations[name][frame : frame + 1], SIDE), low=0, high=255)
            found.append((name, picture(image, name)))
    return found
