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
# # Backpropagation by hand
#
# Each module gets delta, the derivative of the loss by the module's output. It returns the gradient
# of its own parameters, and the delta of the module before it. `python backprop_by_hand.py FOLDER`
# saves the pictures in a folder.

# %%
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import lecture_opt as lo
from lecture_opt import backprop, gradient_flow


def show(figure, name):
    """Shows the figure; saves it first if the command line names a folder."""
    if sys.argv[1:] and not sys.argv[1].startswith("-"):  # a notebook's kernel is given options
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        figure.savefig(folder / f"{name}.png", dpi=80)
    plt.show()


# %% [markdown]
# ## One neuron
#
# h = relu(w . x + b), so dL/dw = delta * step(z) * x: the delta from above, times the slope of the
# relu, times the input.

# %%
params = {"kernel": jnp.array([1.0, -2.0]), "bias": jnp.array(0.5)}
x = jnp.array([[3.0, 1.0], [0.0, 1.0]])
h, residuals = backprop.neuron.forward(params, x)
delta = jnp.ones(2)
delta_in, grads = backprop.neuron.backward(residuals, delta)
print("z    ", residuals[2], "-> only the first example passes step(z)")
print("dL/dw", grads["kernel"], "= delta * 1 * x of that example")

z = jnp.linspace(-3, 3, 121)
figure, axis = plt.subplots(figsize=(4.4, 2.6), layout="constrained")
axis.plot(z, jnp.maximum(z, 0), label="relu(z)")
axis.plot(z, z > 0, "--", label="step(z), what delta is multiplied by")
axis.set(xlabel="z = w . x + b")
axis.legend()
show(figure, "neuron")

# %% [markdown]
# ## A net: f3(W3) o f2(W2) o f1(W1)
#
# `lo.mlp` and the chain by hand take the same parameters, and their gradients agree up to rounding.

# %%
model = lo.mlp([8, 16, 3], activation=lo.tanh)
by_hand = backprop.chain(backprop.dense, backprop.tanh, backprop.dense)
params = model.init(jax.random.key(0))
x, labels = jax.random.normal(jax.random.key(1), (64, 8)), jnp.arange(64) % 3


def loss_fn(params):
    return lo.softmax_cross_entropy(model.apply(params, x), labels)


loss, grads = jax.jit(backprop.value_and_grad, static_argnums=0)(by_hand, params, (x, labels))
expected = jax.jit(jax.grad(loss_fn))(params)
apart = jax.tree.map(lambda a, b: float(abs(a - b).max()), grads, expected)
print(f"loss {loss:.4f}; by hand and jax.grad differ by at most {max(jax.tree.leaves(apart)):.1e}")

# %% [markdown]
# ## Where gradients vanish or explode
#
# These nets have eight layers. A sigmoid multiplies delta by at most 1/4, so the first layers
# hardly learn. Weights that are twice too large make delta grow at each layer. He's initialisation
# keeps it level. If the biases are too low, ReLUs die: they give 0 for every example, and no
# gradient flows back through them.

# %%
DEPTH, WIDTH = 8, 32
x, labels = jax.random.normal(jax.random.key(2), (64, WIDTH)), jnp.arange(64) % WIDTH


def deep(module, activation, scale=1.0, bias=0.0):
    params = lo.mlp([WIDTH] * (DEPTH + 1), activation=activation).init(jax.random.key(3))
    for layer in params[::2]:
        layer["kernel"] *= scale
        layer["bias"] += bias
    net = backprop.chain(*[backprop.dense, module] * (DEPTH - 1), backprop.dense)
    return backprop.explain(net, params, (x, labels))


explanations = {
    "sigmoid": deep(backprop.sigmoid, lo.sigmoid),
    "relu, He": deep(backprop.relu, lo.relu),
    "relu, weights x 2": deep(backprop.relu, lo.relu, scale=2.0),
    "relu, biases -0.3": deep(backprop.relu, lo.relu, bias=-0.3),
}
for name, explanation in explanations.items():
    first, last = explanation.deltas[[0, -1]]
    print(f"{name:18} delta at the first layer / at the last: {first / last:.1e}", end=", ")
    print(f"dead ReLUs: {np.nanmean(explanation.dead):.0%}" if "relu" in name else "no ReLUs")
figure = plt.figure()
gradient_flow.draw(explanations, figure)
show(figure, "gradient_flow")
