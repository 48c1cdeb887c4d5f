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
# # Adam, dissected
#
# Adam is RMSprop with momentum and with a correction, because both means start at zero. What does
# each part do? `python adam_dissected.py FOLDER` saves the picture in a folder.

# %%
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lecture_opt as lo


def show(figure, name):
    """Shows the figure; saves it first if the command line names a folder."""
    if sys.argv[1:] and not sys.argv[1].startswith("-"):  # a notebook's kernel is given options
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=80)
    plt.show()


LEARNING_RATE, B1, B2, EPS = 0.001, 0.9, 0.999, 1e-8


def step_sizes(gradients, *, corrected=True, b1_decay=1.0):
    """Adam for one parameter, in NumPy, as the slide writes it."""
    m = v = 0.0
    sizes = []
    for t, g in enumerate(gradients, start=1):
        b1_t = B1 * b1_decay ** (t - 1)
        m = b1_t * m + (1 - b1_t) * g
        v = B2 * v + (1 - B2) * g**2
        m_c = m / (1 - B1**t) if corrected else m
        v_c = v / (1 - B2**t) if corrected else v
        sizes.append(LEARNING_RATE * m_c / (np.sqrt(v_c) + EPS))
    return np.array(sizes)


# %% [markdown]
# ## The library's Adam is this one

# %%
noise = np.random.default_rng(0).normal(size=300).astype("float32")
optimizer = lo.adam(LEARNING_RATE)


def one(state, g):
    update, state = optimizer.update(g, state)
    return state, -update


library = jax.lax.scan(one, optimizer.init(jnp.zeros(())), jnp.asarray(noise))[1]
apart = abs(library - step_sizes(noise)).max() / LEARNING_RATE
print(f"lo.adam and the slide's loop differ by at most {apart:.0e} of the learning rate")

# %% [markdown]
# ## Bias correction
#
# With a constant gradient the corrected step is as long as the learning rate, from the first step
# on. Without the correction the first step is (1 - b1) / sqrt(1 - b2) = 3.2 times as long. The
# steps grow to about 6.6 times the learning rate before the mean of the squares has filled up. So
# the uncorrected training is wildest at the start, where nothing is known yet.

# %%
ones = np.ones(3000)
with_correction, without = step_sizes(ones), step_sizes(ones, corrected=False)
for t in (1, 10, 100, 3000):
    on, off = (sizes[t - 1] / LEARNING_RATE for sizes in (with_correction, without))
    print(f"step {t:4}: corrected {on:.2f}, uncorrected {off:.2f} learning rates")
print(f"largest uncorrected step: {without.max() / LEARNING_RATE:.1f} learning rates")

# %% [markdown]
# ## The scale of the gradient does not matter
#
# m and sqrt(v) grow alike, so 1000 times the loss gives the same steps. If the sign of the gradient
# changes from step to step, the steps shrink, because m averages out and v does not.

# %%
ratio = step_sizes(1000 * noise) / step_sizes(noise)
print(f"gradients x 1000 change the steps by {abs(ratio - 1).max():.0e}")
alternating = np.array([1.0, -1.0] * 100)
print(
    f"alternating gradients: {abs(step_sizes(alternating)[-1]) / LEARNING_RATE:.2f} learning rates"
)

# %% [markdown]
# ## b1_decay
#
# The slide's l multiplies b1 once per step. With the default of 1 - 1e-8 you see no effect; in
# float32 it even rounds to 1. With 0.99 the momentum fades, and Adam turns into RMSprop with a
# corrected mean. The correction still uses b1^t, so it does not fit exactly while the momentum
# fades.

# %%
default, fading = (step_sizes(noise, b1_decay=decay) for decay in (1 - 1e-8, 0.99))
print(f"b1_decay 1 - 1e-8 moves 300 steps by {abs(default - step_sizes(noise)).max():.0e}")
for name, sizes in {"b1_decay = 1": step_sizes(noise), "b1_decay = 0.99": fading}.items():
    flips = np.mean(np.diff(np.sign(sizes[200:])) != 0)
    print(f"{name:16} the step changes its sign in {flips:.0%} of the last 100 steps")

figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
axes[0].semilogx(range(1, 3001), with_correction / LEARNING_RATE, label="corrected")
axes[0].semilogx(range(1, 3001), without / LEARNING_RATE, "--", label="uncorrected")
axes[0].set(title="constant gradient", xlabel="step", ylabel="step / learning rate")
axes[0].legend()
axes[1].plot(step_sizes(noise) / LEARNING_RATE, label="b1_decay = 1")
axes[1].plot(fading / LEARNING_RATE, alpha=0.7, label="b1_decay = 0.99")
axes[1].set(title="pure noise", xlabel="step")
axes[1].legend()
show(figure, "adam")
