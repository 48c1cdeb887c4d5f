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
# # Momentum and Nesterov
#
# Momentum adds the steps up to a velocity: across a valley they cancel, along it they add.
# Nesterov measures the gradient after the jump, and so brakes earlier.
# `python momentum_and_nesterov.py FOLDER` saves the picture.

# %%
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import optax

import lecture_opt as lo

FOLDER = Path(sys.argv[1]) if sys.argv[1:] and not sys.argv[1].startswith("-") else None
CURVATURES = jnp.array([1.0, 25.0])
START = jnp.array([-1.0, 0.4])


def loss_fn(params):
    return jnp.sum(CURVATURES * params**2) / 2


def path(optimizer, steps=60):
    params, state, points = START, optimizer.init(START), [START]
    for _ in range(steps):
        updates, state = optimizer.update(jax.grad(loss_fn)(params), state, params)
        params = optax.apply_updates(params, updates)
        points.append(params)
    return jnp.stack(points)


# %% [markdown]
# ## Down a long valley

# %%
paths = {
    "sgd": path(lo.sgd(0.03)),
    "momentum": path(lo.momentum(0.03, momentum=0.9)),
    "nesterov": path(lo.nesterov(0.03, momentum=0.9)),
}
for name, points in paths.items():
    losses = jax.vmap(loss_fn)(points)
    print(f"{name:9} loss after 20 steps {losses[20]:.1e}, after 60 {losses[60]:.1e}")

# %% [markdown]
# ## A velocity has a limit
#
# Under a constant gradient g the velocity tends to -learning_rate g / (1 - momentum): with 0.9
# the steps become ten times as long.

# %%
optimizer = lo.momentum(learning_rate=0.01, momentum=0.9)
state = optimizer.init(jnp.zeros(()))
for step in range(1, 61):
    velocity, state = optimizer.update(jnp.ones(()), state)
    if step in (1, 10, 60):
        print(f"step {step:2}: velocity {velocity:.4f} (limit {-0.01 / (1 - 0.9):.4f})")

# %% [markdown]
# ## Both readings of the slide
#
# "First the big jump, then measure the gradient" is momentum whose gradient is taken at
# `lookahead`. The slide's update rule moves the point of measurement itself; the two walk one path.

# %%
optimizer = lo.momentum(0.03, momentum=0.9)
params, state, measured = START, optimizer.init(START), []
for _ in range(20):
    ahead = lo.lookahead(params, state, momentum=0.9)
    measured.append(ahead)
    updates, state = optimizer.update(jax.grad(loss_fn)(ahead), state)
    params = optax.apply_updates(params, updates)
apart = abs(jnp.stack(measured) - paths["nesterov"][:20]).max()
print(f"the two forms of Nesterov measure at the same points, to {apart:.0e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
grid = jnp.linspace(-1.2, 1.2, 60)
surface = jax.vmap(lambda b: jax.vmap(lambda a: loss_fn(jnp.array([a, b])))(grid))(grid / 2)
axes[0].contour(grid, grid / 2, surface, levels=12, colors="0.8")
for name, points in paths.items():
    axes[0].plot(points[:30, 0], points[:30, 1], "o-", markersize=2, label=name)
    axes[1].semilogy(jax.vmap(loss_fn)(points), label=name)
axes[0].set(title="30 steps", xlabel="flat direction", ylabel="steep direction")
axes[1].set(title="loss", xlabel="step")
axes[1].legend()
if FOLDER is not None:
    figure.savefig(FOLDER / "momentum.png", dpi=80)
