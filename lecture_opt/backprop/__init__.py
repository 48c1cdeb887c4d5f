"""Backpropagation by hand, module by module (slides "Backpropagation" and "... una neurona").

The lecture sees a network as a composition, y = f3(W3, f2(W2, f1(W1, x))). Going back through it,
each module receives delta, the derivative of the loss with respect to its output, and does two
things with it:

    grads    = delta . df/dW      what its own parameters are moved by
    delta_in = delta . df/dx      the delta of the module before it

- `Module(name, forward, backward)`: the two directions of a module
- `dense`, `relu`, `sigmoid`, `tanh`, `softmax`, `neuron`: the lecture's modules
- `automatic`: any other `Model` as a module
- `chain`: the composition, which passes the delta back
- `softmax_cross_entropy`, `sigmoid_cross_entropy`, `squared_error`: the cost with its first delta.
  Each returns the pair `(loss, delta)`; `lecture_opt.softmax_cross_entropy` returns the loss alone
- `value_and_grad`: a forward and a backward pass, equal to `jax.value_and_grad`
- `explain`: norms of activations, deltas and gradients, and dead ReLUs, module by module

Parameters are the trees of `lecture_opt.models`, so that both can be compared:

    >>> import jax, jax.numpy as jnp
    >>> import lecture_opt as lo
    >>> from lecture_opt import backprop
    >>> model = lo.mlp([4, 8, 3], activation=lo.tanh)
    >>> by_hand = backprop.chain(backprop.dense, backprop.tanh, backprop.dense)
    >>> params = model.init(jax.random.key(0))
    >>> x, labels = jnp.ones((5, 4)), jnp.array([0, 1, 2, 0, 1])
    >>> value_and_grad = jax.jit(backprop.value_and_grad, static_argnums=0)
    >>> loss, grads = value_and_grad(by_hand, params, (x, labels))
    >>> def loss_fn(params):
    ...     return lo.softmax_cross_entropy(model.apply(params, x), labels)
    >>> expected = jax.jit(jax.grad(loss_fn))(params)
    >>> bool(jnp.allclose(grads[0]["kernel"], expected[0]["kernel"], atol=1e-6))
    True
"""

from lecture_opt.backprop.compose import LossAndDelta, chain, value_and_grad
from lecture_opt.backprop.costs import sigmoid_cross_entropy, softmax_cross_entropy, squared_error
from lecture_opt.backprop.explanation import Explanation, explain
from lecture_opt.backprop.modules import (
    Module,
    Residuals,
    automatic,
    dense,
    neuron,
    relu,
    sigmoid,
    softmax,
    tanh,
)  # fmt: skip

__all__ = [
    "Explanation", "LossAndDelta", "Module", "Residuals", "automatic", "chain", "dense", "explain",
    "neuron", "relu", "sigmoid", "sigmoid_cross_entropy", "softmax", "softmax_cross_entropy",
    "squared_error", "tanh", "value_and_grad",
]  # fmt: skip
