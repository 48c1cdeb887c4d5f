# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The learning-rate dilemma
#
# A rate that is too small leads nowhere, one that is too large diverges. If parameters differ in
# curvature, no single rate is right for all of them. `python learning_rate_dilemma.py FOLDER` saves
# the picture in a folder.

# %%
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

import lecture_opt as lo


def show(figure, name):
    """Shows the figure; saves it first if the command line names a folder."""
    if sys.argv[1:] and not sys.argv[1].startswith("-"):  # a notebook's kernel is given options
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=80)
    plt.show()


# %% [markdown]
# ## A parabola
#
# On L = c p^2 / 2 a step of gradient descent is p <- (1 - learning_rate c) p. So it converges if
# and only if |1 - learning_rate c| < 1, that is, for rates below 2 / c.

# %%
CURVATURES = jnp.array([1.0, 25.0])
START = jnp.array([1.0, 1.0])


def loss_fn(params):
    return jnp.sum(CURVATURES * params**2) / 2


def path(learning_rate, steps=30):
    optimizer = lo.sgd(learning_rate)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss_fn)(params), state)
        return (optax.apply_updates(params, updates), state), params

    return jax.lax.scan(step, (START, optimizer.init(START)), length=steps)[1]


# A rate may be traced, so one vmap tries them all.
rates = jnp.array([0.002, 0.02, 0.076, 0.085])
paths = jax.vmap(path)(rates)
for rate, points in zip(rates, paths, strict=True):
    flat, steep = points[-1]
    print(f"rate {rate:.3f}: after 30 steps flat {flat:8.3f}, steep {steep:8.3f}", end="  ")
    print("diverges: above 2 / 25 = 0.08" if rate > 0.08 else "")
print("the steep direction sets the limit, and the flat one is slow because of it")

# %% [markdown]
# ## The loss at all rates
#
# The loss after 30 steps, drawn over the rate, is a valley with a cliff on its right.

# %%
many = jnp.logspace(-4, -0.7, 100)
final = jax.vmap(lambda rate: loss_fn(path(rate)[-1]))(many)
print(f"best rate of 100: {many[jnp.nanargmin(final)]:.3f}; the cliff is at 0.08")

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
grid = jnp.linspace(-1.3, 1.3, 60)
surface = jax.vmap(lambda b: jax.vmap(lambda a: loss_fn(jnp.array([a, b])))(grid))(2 * grid)
axes[0].contour(grid, 2 * grid, surface, levels=12, colors="0.8")
for rate, points in zip(rates, paths, strict=True):
    shown = points[:9] if rate > 0.08 else points
    label = f"rate {rate:.3f}, diverges" if rate > 0.08 else f"rate {rate:.3f}"
    axes[0].plot(shown[:, 0], shown[:, 1], "o-", markersize=3, label=label)
axes[0].set(title="steps of SGD", xlabel="flat direction", ylabel="steep direction")
axes[0].legend(fontsize="small")
axes[1].loglog(many, final)
axes[1].axvline(0.08, color="0.6", linestyle=":")
axes[1].set(title="loss after 30 steps", xlabel="learning rate", ylim=(1e-3, 1e4))
show(figure, "learning_rate")
