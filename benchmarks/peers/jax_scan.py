"""JAX at its best: the whole epoch is one compiled `lax.scan` over batches, and the state's buffers are donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from common import HIDDEN, IN, LATENT, job, pictures, run_for


def linear(key: Any, inputs: int, outputs: int) -> tuple[Any, Any]:
    return jax.random.uniform(key, (inputs, outputs), minval=-1, maxval=1) / inputs**0.5, jnp.zeros(outputs)


def loss(weights: Any, x: Any, key: Any) -> Any:
    (a, a0), (b, b0), (c, c0), (d, d0) = weights
    mean, log_variance = jnp.split(jax.nn.relu(x @ a + a0) @ b + b0, 2, axis=1)
    z = mean + jnp.exp(0.5 * log_variance) * jax.random.normal(key, mean.shape)
    reconstruction = 0.5 * jnp.square(jax.nn.relu(z @ c + c0) @ d + d0 - x).sum()
    kl = 0.5 * (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance).sum()
    return (reconstruction + kl) / len(x)


def adam(weights: Any, m: Any, v: Any, gradient: Any, t: Any) -> tuple[Any, Any, Any]:
    m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
    v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)

    def move(w: Any, m: Any, v: Any) -> Any:
        return w - 1e-3 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)

    return jax.tree.map(move, weights, m, v), m, v


def main() -> None:
    given = job()
    batch, rows = given["batch"], given["rows"]
    x = jnp.asarray(pictures(rows).reshape(rows, IN))

    @partial(jax.jit, donate_argnums=0)
    def epoch(state: Any, x: Any, key: Any) -> Any:
        order = jax.random.permutation(key, rows)

        def step(state: Any, i: Any) -> tuple[Any, Any]:
            weights, m, v, t = state
            data = x[jax.lax.dynamic_slice(order, (i * batch,), (batch,))]
            value, gradient = jax.value_and_grad(loss)(weights, data, jax.random.fold_in(key, i))
            return (*adam(weights, m, v, gradient, t), t + 1), value

        return jax.lax.scan(step, state, jnp.arange(rows // batch))

    keys = iter(jax.random.split(jax.random.PRNGKey(0), 10_000))
    shapes = [(IN, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, IN)]
    weights = [linear(next(keys), *shape) for shape in shapes]
    state = (weights, *[jax.tree.map(jnp.zeros_like, weights) for _ in range(2)], 1.0)

    def run() -> int:
        nonlocal state
        state, values = epoch(state, x, next(keys))
        values.block_until_ready()
        return rows // batch * batch

    run()  # compiles
    run_for(given["seconds"], run)


main()
