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
# Momentum sums the steps into a velocity. Steps across a valley change their sign and cancel; steps
# along it keep their sign and add up. Nesterov measures the gradient after the jump and so brakes
# earlier. `python momentum_and_nesterov.py FOLDER` saves the picture in a folder.

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
#
# At a rate near its limit of 2 / 25 = 0.08, SGD jumps from wall to wall. A momentum of 0.5 at the
# same rate cancels these jumps, and its steps along the valley become twice as long.
#
# A momentum of 0.9 is too much for this valley: the velocity itself swings from wall to wall.
# Nesterov with the same momentum brakes these swings.

# %%
near_the_limit = {
    "SGD": path(lo.sgd(0.076)),
    "momentum 0.5": path(lo.momentum(0.076, momentum=0.5)),
}
too_much = {
    "momentum 0.9": path(lo.momentum(0.03, momentum=0.9)),
    "Nesterov 0.9": path(lo.nesterov(0.03, momentum=0.9)),
}
for rate, paths in ((0.076, near_the_limit), (0.03, too_much)):
    for name, points in paths.items():
        losses = jax.vmap(loss_fn)(points)
        print(f"rate {rate}, {name:12} loss after 20 steps {losses[20]:.1e}", end=", ")
        print(f"largest step across, from the tenth on {abs(jnp.diff(points[10:, 1])).max():.3f}")

# %% [markdown]
# ## A velocity has a limit
#
# Under a constant gradient g the velocity tends to -learning_rate g / (1 - momentum). With a
# momentum of 0.9 the steps become ten times as long.

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
# "First make the big jump, then measure the gradient" is momentum with its gradient taken at
# `lookahead`. The code of the slide follows the point of measurement itself. Both measure at the
# same points.

# %%
optimizer = lo.momentum(0.03, momentum=0.9)
params, state, measured = START, optimizer.init(START), []
for _ in range(20):
    ahead = lo.lookahead(params, state, momentum=0.9)
    measured.append(ahead)
    updates, state = optimizer.update(jax.grad(loss_fn)(ahead), state)
    params = optax.apply_updates(params, updates)
apart = abs(jnp.stack(measured) - too_much["Nesterov 0.9"][:20]).max()
print(f"the two forms of Nesterov measure at the same points, to {apart:.0e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained", sharey=True)
grid = jnp.linspace(-1.2, 1.2, 60)
surface = jax.vmap(lambda b: jax.vmap(lambda a: loss_fn(jnp.array([a, b])))(grid))(grid / 2)
for axis, title, paths in zip(
    axes,
    ("learning rate 0.076", "learning rate 0.03"),
    (near_the_limit, too_much),
    strict=True,
):
    axis.contour(grid, grid / 2, surface, levels=12, colors="0.8")
    for name, points in paths.items():
        axis.plot(points[:25, 0], points[:25, 1], "o-", markersize=2, linewidth=1, label=name)
    axis.set(title=title, xlabel="along the valley")
    axis.legend(fontsize="small")
axes[0].set(ylabel="across the valley")
show(figure, "momentum")
