"""The composition of modules, and the two passes through it."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from lecture_opt.backprop.costs import softmax_cross_entropy
from lecture_opt.backprop.modules import Module, Residuals
from lecture_opt.models import Params
from lecture_opt.models.checks import entries

LossAndDelta: TypeAlias = Callable[[jax.Array, Any], tuple[jax.Array, jax.Array]]
"""A cost of `(output, targets)`: the loss, and its delta, the derivative by the output."""


def chain(*modules: Module) -> Module:
    """The composition f3(W3) o f2(W2) o f1(W1), the first module applied first.

    Forward, x_2 = f1(W1, x_1), x_3 = f2(W2, x_2) and so on; backward, each module's `delta_in` is
    the delta of the one before it. Parameters are a list with one entry per module, as in
    `models.chain`.

    Raises:
        TypeError: Where one of `modules` is not a `Module`.
        LayerError: In the forward pass, where params or x do not fit.

    Example:
        >>> from lecture_opt.backprop import dense, relu
        >>> net = chain(dense, relu, dense)
        >>> [part.name for part in net.parts]
        ['dense', 'relu', 'dense']
    """
    for i, module in enumerate(modules):
        if not isinstance(module, Module):
            raise TypeError(
                f"backprop.chain: module {i} is {module!r}; wanted a backprop.Module "
                "(backprop.automatic makes one of a Model)"
            )

    def forward(params: Params, x: ArrayLike) -> tuple[jax.Array, Residuals]:
        y, residuals = jnp.asarray(x), []
        for module, entry in entries("backprop.chain", modules, params):
            y, kept = module.forward(entry, y)
            residuals.append(kept)
        return y, residuals

    def backward(residuals: Residuals, delta: jax.Array) -> tuple[jax.Array, Params]:
        grads = []
        for module, kept in zip(reversed(modules), reversed(residuals), strict=True):
            delta, own = module.backward(kept, delta)
            grads.append(own)
        return delta, grads[::-1]

    return Module("chain", forward, backward, modules)


def value_and_grad(
    module: Module,
    params: Params,
    batch: tuple[Any, Any],
    loss: LossAndDelta = softmax_cross_entropy,
) -> tuple[jax.Array, Params]:
    """The loss of `batch`, a pair (x, targets), and its gradient by `params`.

    Args:
        module: Usually a `chain`.
        params: Its parameters.
        batch: Inputs and targets.
        loss: `(output, targets) -> (loss, delta)`.

    Example:
        >>> from lecture_opt.backprop import neuron, squared_error
        >>> params = {"kernel": jnp.array([1.0, 2.0]), "bias": jnp.array(-1.0)}
        >>> batch = jnp.array([[1.0, 1.0]]), jnp.array([0.0])
        >>> loss, grads = value_and_grad(neuron, params, batch, squared_error)
        >>> print(loss, grads["kernel"])  # delta is 2 * (2 - 0), step(2) is 1, x is (1, 1)
        4.0 [4. 4.]
    """
    x, targets = batch
    y, residuals = module.forward(params, x)
    value, delta = loss(y, targets)
    _, grads = module.backward(residuals, delta)
    return value, grads
