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
# # Gradient descent, and the S of SGD
#
# The gradient of a mean is the mean of the gradients. So the gradient of a minibatch, drawn at
# random, is right on average, and its error shrinks as the batch grows. Here both are measured.
# `python gradient_descent.py FOLDER` saves the picture in a folder.

# %%
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import lecture_opt as lo


def show(figure, name):
    """Shows the figure; saves it first if the command line names a folder."""
    if sys.argv[1:] and not sys.argv[1].startswith("-"):  # a notebook's kernel is given options
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=80)
    plt.show()


x, labels = load_digits(return_X_y=True)
x, labels = jnp.asarray(x / 16, jnp.float32), jnp.asarray(labels)
N = len(x)
model = lo.softmax_regression(64, 10)
params = model.init(jax.random.key(0))


def loss_fn(params, batch):
    return lo.softmax_cross_entropy(model.apply(params, batch[0]), batch[1])


def flat(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


# %% [markdown]
# ## Right on average
#
# All gradients are taken at the same parameters: that of all 1,797 digits, and those of 1,000
# minibatches of 16. One of them is far off; their mean is close.

# %%
full = flat(jax.grad(loss_fn)(params, (x, labels)))


@jax.jit
def minibatch_gradient(key, size_of):
    chosen = jax.random.choice(key, N, size_of.shape, replace=False)
    return flat(jax.grad(loss_fn)(params, (x[chosen], labels[chosen])))


def gradients(size, draws=1000):
    keys = jax.random.split(jax.random.key(size), draws)
    return jax.lax.map(lambda key: minibatch_gradient(key, jnp.zeros(size)), keys)


sixteen = gradients(16)
length = jnp.linalg.norm(full)
print(f"one minibatch of 16 is off by {jnp.linalg.norm(sixteen[0] - full) / length:.0%}", end=", ")
print(f"the mean of 1,000 by {jnp.linalg.norm(sixteen.mean(axis=0) - full) / length:.0%}")

# %% [markdown]
# ## The variance falls as one over the size of the batch
#
# With S the variance of the gradient of one example, summed over the parameters, B examples drawn
# without replacement give a variance of S / B (N - B) / (N - 1). To halve the error, take four
# times as many examples.

# %%
single = jax.vmap(lambda a, b: flat(jax.grad(loss_fn)(params, (a[None], b[None]))))(x, labels)
spread = jnp.sum(jnp.var(single, axis=0))
sizes = [1, 4, 16, 64, 256, 1024]
measured = [float(jnp.sum((gradients(size, 400) - full) ** 2, axis=1).mean()) for size in sizes]
expected = [float(spread / size * (N - size) / (N - 1)) for size in sizes]
for size, found, formula in zip(sizes, measured, expected, strict=True):
    print(f"batch of {size:4}: variance {found:.1e}, by the formula {formula:.1e}")

# %% [markdown]
# ## Many cheap steps beat few dear ones
#
# Each run sees every digit three times. The batch of 1,797 takes three steps for that, the batch of
# 16 takes 336.

# %%
PASSES = 3
curves = {}
for size in (16, 128, N):
    steps = PASSES * (N // size)
    result = lo.fit(
        loss_fn,
        params,
        lo.sgd(0.5),
        (x, labels),
        steps=steps,
        batch_size=size,
        key=jax.random.key(1),
        eval_fn=jax.jit(lambda params: loss_fn(params, (x, labels))),
        eval_every=max(1, steps // 12),
    )
    done, losses = zip(*result.evaluations, strict=True)
    curves[size] = (
        [0, *(step * size / N for step in done)],
        [loss_fn(params, (x, labels)), *losses],
    )
    print(f"batch of {size:4}: loss {losses[-1]:.2f} after {steps} steps")

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
axes[0].loglog(sizes, measured, "o", label="measured")
axes[0].loglog(sizes, expected, "-", color="0.6", label="S/B (N - B)/(N - 1)")
axes[0].set(title="variance of the gradient", xlabel="examples in the batch, B")
axes[0].legend()
for size, (passes, losses) in curves.items():
    axes[1].plot(passes, losses, "o-", markersize=3, label=f"B = {size}")
axes[1].set(title="loss on all the data", xlabel="passes through the data")
axes[1].legend()
show(figure, "minibatches")
