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
# # Sparse features: AdaGrad, and why RMSprop forgets
#
# A rare feature gets few gradients. AdaGrad divides the rate of each parameter by the root of that
# parameter's own sum of squared gradients, so the few gradients count. `python sparse_features.py
# FOLDER` saves the pictures in a folder.

# %%
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import lecture_opt as lo


def show(figure, name):
    """Shows the figure; saves it first if the command line names a folder."""
    if sys.argv[1:] and not sys.argv[1].startswith("-"):  # a notebook's kernel is given options
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=80)
    plt.show()


# %% [markdown]
# ## Words, some of them rare
#
# A share 2^-j of the examples has feature j. The true weight of every feature is 1.

# %%
FEATURES, EXAMPLES = 8, 2048
shares = 2.0 ** -jnp.arange(FEATURES)
x = jax.random.bernoulli(jax.random.key(0), shares, (EXAMPLES, FEATURES)).astype(jnp.float32)
y = x.sum(axis=1)


def loss_fn(weights, batch):
    x, y = batch
    return lo.mean_squared_error(x @ weights, y)


weights = {}
for name, optimizer in {"sgd": lo.sgd(0.1), "adagrad": lo.adagrad(0.5)}.items():
    result = lo.fit(
        loss_fn,
        jnp.zeros(FEATURES),
        optimizer,
        (x, y),
        steps=200,
        batch_size=16,
        key=jax.random.key(1),
    )
    weights[name] = result.params
    print(f"{name:8} weight of the commonest feature {result.params[0]:.2f}", end=", ")
    print(f"of the rarest (1 in 128) {result.params[-1]:.2f}; the true weights are 1")

figure, axis = plt.subplots(figsize=(4.6, 2.8), layout="constrained")
for name, learned in weights.items():
    axis.semilogx(shares, learned, "o-", label=name)
axis.axhline(1, color="0.6", linestyle=":", label="true weight")
axis.set(xlabel="share of examples that have the feature", ylabel="weight after 200 steps")
axis.legend()
show(figure, "sparse")

# %% [markdown]
# ## Summing over all the past
#
# The sum never falls. Under a constant gradient AdaGrad's step is learning_rate / sqrt(t), and it
# never recovers from a burst of large gradients. RMSprop's mean forgets: some multiples of 1 / (1 -
# decay) steps after the burst, the steps have their old length again.

# %%
gradients = jnp.ones(120).at[20:30].set(20.0)
steps = {}
for name, optimizer in {"adagrad": lo.adagrad(0.1), "rmsprop": lo.rmsprop(0.1)}.items():

    def one(state, g, optimizer=optimizer):
        update, state = optimizer.update(g, state)
        return state, abs(update)

    steps[name] = jax.lax.scan(one, optimizer.init(jnp.zeros(())), gradients)[1]
    before, after = steps[name][19], steps[name][119]
    print(f"{name}: step before the burst {before:.3f}, 90 steps after it {after:.3f}")

figure, axis = plt.subplots(figsize=(4.6, 2.8), layout="constrained")
for name, sizes in steps.items():
    axis.semilogy(sizes, label=name)
axis.axvspan(20, 30, color="0.9", label="gradient 20 in place of 1")
axis.set(xlabel="step", ylabel="size of the step")
axis.legend()
show(figure, "rmsprop")
