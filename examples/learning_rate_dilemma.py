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
# Too small and nothing happens, too large and it diverges; and one rate for all parameters can't
# be right where their curvatures differ. `python learning_rate_dilemma.py FOLDER` saves the
# picture.

# %%
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

import lecture_opt as lo

FOLDER = Path(sys.argv[1]) if sys.argv[1:] and not sys.argv[1].startswith("-") else None

# %% [markdown]
# ## A parabola
#
# On L = c p^2 / 2 a step of gradient descent is p <- (1 - learning_rate c) p. So it converges just
# where |1 - learning_rate c| < 1, that is for rates below 2 / c.

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
rates = jnp.array([0.002, 0.02, 0.076, 0.082])
paths = jax.vmap(path)(rates)
for rate, points in zip(rates, paths, strict=True):
    flat, steep = points[-1]
    print(f"rate {rate:.3f}: after 30 steps flat {flat:8.3f}, steep {steep:8.3f}", end="  ")
    print("diverges: above 2 / 25 = 0.08" if rate > 0.08 else "")
print("the steep direction sets the limit, and the flat one pays for it")

# %% [markdown]
# ## The same on all rates
#
# The loss after 30 steps over the rate: a valley with a cliff on its right.

# %%
many = jnp.logspace(-4, -0.7, 100)
final = jax.vmap(lambda rate: loss_fn(path(rate)[-1]))(many)
print(f"best rate of 100: {many[jnp.nanargmin(final)]:.3f}; the cliff is at 0.08")

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
grid = jnp.linspace(-1.3, 1.3, 60)
surface = jax.vmap(lambda b: jax.vmap(lambda a: loss_fn(jnp.array([a, b])))(grid))(grid)
axes[0].contour(grid, grid, surface, levels=12, colors="0.8")
for rate, points in zip(rates[:3], paths[:3], strict=True):
    axes[0].plot(points[:, 0], points[:, 1], "o-", markersize=3, label=f"rate {rate:.3f}")
axes[0].set(title="30 steps of SGD", xlabel="flat direction", ylabel="steep direction")
axes[0].legend(fontsize="small")
axes[1].loglog(many, final)
axes[1].axvline(0.08, color="0.6", linestyle=":")
axes[1].set(title="loss after 30 steps", xlabel="learning rate", ylim=(1e-3, 1e4))
if FOLDER is not None:
    figure.savefig(FOLDER / "learning_rate.png", dpi=80)
