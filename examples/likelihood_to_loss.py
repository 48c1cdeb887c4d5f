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
# # From likelihood to loss
#
# A loss is not a matter of taste. Say which distribution the targets come from; then the loss is
# minus the logarithm of their probability. `python likelihood_to_loss.py FOLDER` saves the pictures
# in a folder.

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
# ## A coin
#
# A coin shows seven heads in ten tosses. Every probability q of heads is a hypothesis h, and p(D|h)
# is a product of ten factors. Its logarithm is a sum and has its maximum at the same q.

# %%
tosses = jnp.array([1.0] * 7 + [0.0] * 3)
candidates = jnp.linspace(0.01, 0.99, 99)


def coin(q):
    return lo.log_likelihood("bernoulli", jnp.full(10, q), tosses)


log_likelihoods = jax.vmap(coin)(candidates)
best = candidates[log_likelihoods.argmax()]
print(f"coin: the likelihood is largest at q = {best:.2f}, the share of heads")

figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
axes[0].plot(candidates, jnp.exp(log_likelihoods))
axes[0].set(title="likelihood p(D|q)", xlabel="q")
axes[1].plot(candidates, -log_likelihoods / 10)
axes[1].set(title="binary cross-entropy (mean)", xlabel="q")
for axis in axes:
    axis.axvline(float(best), color="0.6", linestyle=":")
show(figure, "likelihood")

# %% [markdown]
# ## Classes
#
# The label is one-hot, so only one term of the sum over the classes remains, -log q of the true
# class. By the logits the gradient is q - p, which is never larger than 1, however wrong the model
# is. By the probabilities the gradient is -1/q, which explodes if the model is sure and wrong.

# %%
probs = jnp.array([[0.7, 0.2, 0.1]])
one_hot, class_id = jnp.array([[1.0, 0.0, 0.0]]), jnp.array([0])
print(f"classes: one-hot {lo.categorical_cross_entropy(probs, one_hot):.4f}", end=", ")
print(f"class id {lo.categorical_cross_entropy(probs, class_id):.4f}", end=", ")
print(f"-log 0.7 = {-jnp.log(0.7):.4f}")

logits = jnp.linspace(-6, 6, 121)
loss = jax.vmap(lo.sigmoid_cross_entropy, in_axes=(0, None))(logits, jnp.array(1.0))
slope = jax.vmap(jax.grad(lo.sigmoid_cross_entropy), in_axes=(0, None))(logits, jnp.array(1.0))
figure, axis = plt.subplots(figsize=(4.4, 2.8), layout="constrained")
axis.plot(logits, loss, label="loss, -log q")
axis.plot(logits, slope, "--", label="gradient by the logit, q - 1")
axis.set(xlabel="logit of the true class")
axis.legend()
show(figure, "cross_entropy")

far = jnp.array([-200.0])
print(f"a logit of -200: from logits {lo.sigmoid_cross_entropy(far, jnp.array([1])):.1f}", end=", ")
print(f"through the probability {lo.binary_cross_entropy(jax.nn.sigmoid(far), jnp.array([1])):.1f}")
print("  (the probability rounds to 0 in float32, and no loss can bring back what was lost)")

# %% [markdown]
# ## Regression
#
# If y = f(x) + noise and the noise is Normal, minus the log-likelihood is the squared error, scaled
# and shifted by constants that do not depend on f. Laplace noise gives the absolute error. Its best
# constant is the median, which an outlier does not move.

# %%
y = jnp.array([0.9, 1.0, 1.1, 1.2, 5.0])
for sigma in (0.5, 1.0, 3.0):
    by_mean = lo.gaussian_nll(jnp.full(5, y.mean()), y, sigma)
    by_two = lo.gaussian_nll(jnp.full(5, 2.0), y, sigma)
    verdict = "better than" if by_mean < by_two else "no better than"
    print(f"sigma {sigma}: f = mean is {verdict} f = 2 (sigma does not matter to the best f)")

constants = jnp.linspace(0, 5.5, 111)
squared = jax.vmap(lambda f: lo.mean_squared_error(jnp.full(5, f), y))(constants)
absolute = jax.vmap(lambda f: lo.mean_absolute_error(jnp.full(5, f), y))(constants)
print(f"best constant: {constants[squared.argmin()]:.2f} squared (mean {y.mean():.2f})", end=", ")
print(f"{constants[absolute.argmin()]:.2f} absolute (median {jnp.median(y):.2f})")

figure, axis = plt.subplots(figsize=(4.4, 2.8), layout="constrained")
axis.plot(constants, squared / squared.max(), label="squared error (Normal)")
axis.plot(constants, absolute / absolute.max(), label="absolute error (Laplace)")
axis.plot(y, jnp.zeros(5), "kx", label="data, one outlier")
axis.set(xlabel="constant prediction f", ylabel="loss / its maximum")
axis.legend()
show(figure, "regression")
