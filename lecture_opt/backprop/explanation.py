"""What flows through a net: norms, module by module, and dead ReLUs."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt.backprop.compose import LossAndDelta
from lecture_opt.backprop.costs import softmax_cross_entropy
from lecture_opt.backprop.modules import Module, neuron
from lecture_opt.models import Model, Params
from lecture_opt.models.checks import entries
from lecture_opt.models.layers import rectifies


class Explanation(NamedTuple):
    """One entry per module, in the order of the forward pass; norms are Euclidean, in float64.

    Attributes:
        loss: The loss of the batch.
        names: Place and kind of each module, "1 relu" for example.
        activations: Norm of the module's output over the whole batch.
        deltas: Norm of the delta that the module receives, the derivative of the loss by its
            output.
        gradients: Norm of the gradient of the module's parameters; NaN without parameters.
        dead: Share of the module's ReLUs that give 0 for every example; NaN for other modules.
    """

    loss: float
    names: tuple[str, ...]
    activations: np.ndarray
    deltas: np.ndarray
    gradients: np.ndarray
    dead: np.ndarray


def explain(
    module: Module,
    params: Params,
    batch: tuple[Any, Any],
    loss: LossAndDelta = softmax_cross_entropy,
) -> Explanation:
    """Follow a batch through the modules: where do gradients vanish or explode, which ReLUs die?

    The arguments are those of `value_and_grad`. `lecture_opt.gradient_flow.draw` makes a picture
    of the result.

    Example:
        >>> import lecture_opt as lo
        >>> from lecture_opt.backprop import chain, dense, relu
        >>> params = lo.mlp([2, 3, 2]).init(jax.random.key(0))
        >>> params[0]["bias"] = jnp.array([-9.0, 0.0, 9.0])  # the first ReLU never fires
        >>> batch = jnp.array([[0.5, 0.5], [1.0, -1.0]]), jnp.array([0, 1])
        >>> explain(chain(dense, relu, dense), params, batch).names
        ('0 dense', '1 relu', '2 dense')
    """
    x, targets = batch
    parts = list(_leaves(module, params))
    y, kept, outputs = jnp.asarray(x), [], []
    for part, entry in parts:
        y, residuals = part.forward(entry, y)
        kept.append(residuals)
        outputs.append(y)
    value, delta = loss(y, targets)
    deltas, gradients = [], []
    for (part, _), residuals in zip(reversed(parts), reversed(kept), strict=True):
        deltas.append(_norm(delta))
        delta, grads = part.backward(residuals, delta)
        gradients.append(_norm(grads) if jax.tree.leaves(grads) else np.nan)
    return Explanation(
        float(value),
        tuple(f"{i} {part.name}" for i, (part, _) in enumerate(parts)),
        np.array([_norm(output) for output in outputs]),
        np.array(deltas[::-1]),
        np.array(gradients[::-1]),
        np.array([_dead_share(part, y) for (part, _), y in zip(parts, outputs, strict=True)]),
    )


def _leaves(module: Module, params: Params) -> Iterator[tuple[Module, Params]]:
    """The modules of chains within chains, in order, each with its parameters."""
    if not module.parts:
        yield module, params
        return
    for part, entry in entries("backprop.chain", module.parts, params):
        yield from _leaves(part, entry)


def _norm(tree: Any) -> float:
    """Euclidean, over all leaves. Scaled by the largest element, whose square could overflow."""
    values = np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in jax.tree.leaves(tree)])
    largest = np.max(np.abs(values), initial=0.0)
    if largest == 0 or not np.isfinite(largest):
        return float(largest)
    return float(largest * np.linalg.norm(values / largest))


def _dead_share(module: Module, output: jax.Array) -> float:
    """The share of units that give 0 for every example; NaN unless the module is a ReLU."""
    is_neuron = module == neuron
    as_model = Model(lambda _: {}, lambda params, z: module.forward(params, z)[0])
    if not (is_neuron or rectifies(as_model)):
        return np.nan
    units = 1 if is_neuron else output.shape[-1]
    fired = np.asarray(output).reshape(-1, units).any(axis=0)
    return float(1 - fired.mean())
