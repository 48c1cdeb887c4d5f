"""Cross-entropy: minus the log-likelihood of a categorical model, from probabilities or logits."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from lecture_opt.losses import _arithmetic as arithmetic
from lecture_opt.losses import _inputs as inputs
from lecture_opt.losses._inputs import CrossEntropyArguments, Reduction
from lecture_opt.meshes import cut, placed
from lecture_opt.numerics import compute_dtype, smallest_normal


def categorical_cross_entropy(
    probs: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    label_smoothing: ArrayLike = 0.0,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Minus the log-density of a categorical distribution: H(p, q) = -sum_j p_j log q_j.

    `probs` are the q. `labels` are the p (floating, of the shape of `probs`), or the ids of the
    classes whose p is 1 (integers, of that shape without `axis`). The other arguments are those of
    `softmax_cross_entropy`; use that function where you have logits.

    Below t, the smallest normal number of the dtype of `probs`, the tangent at t replaces log q:
    at q = 0 its value is log(t) - 1 and its slope 1 / t. Both are finite, and the gradient still
    asks for more probability.

    Raises:
        ValueError: Where values are known, also for `probs` that leave [0, 1], or whose sum
            differs from 1, by more than 0.01.

    Source: the lecture's slide "Clasificación".

    Example:
        >>> import jax.numpy as jnp
        >>> probs = jnp.array([[0.5, 0.25, 0.25], [0.0, 0.5, 0.5]])
        >>> loss = categorical_cross_entropy(probs, jnp.array([0, 2]))
        >>> print(f"{loss:.4f}")  # log(2)
        0.6931
    """
    name = "categorical_cross_entropy"
    probs, labels, axis = _joined(name, "probs", probs, labels, axis)
    given = _check(name, "probs", probs, labels, axis, where, class_weights, label_smoothing)
    inputs.check_reduction(name, reduction)
    if inputs.readable(probs, where):
        hint = " (these look like logits; use softmax_cross_entropy)"
        _check_distributions(name, "probs", inputs.shown(probs, where, axis), axis, hint)
        if inputs.readable(labels) and np.ndim(labels) == np.ndim(probs):
            shown = (inputs.shown(values, where, axis) for values in (probs, labels))
            inputs.check_order(name, *shown)
    return _from_probs(given, axis, reduction)


def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    label_smoothing: ArrayLike = 0.0,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Minus the log-density of a categorical distribution with q = softmax(logits).

    The stable form of `categorical_cross_entropy`. With reduction "none" it equals
    `optax.softmax_cross_entropy`, or `..._with_integer_labels` for class ids.

    Args:
        logits: Log-probabilities up to a constant; -inf rules a class out.
        labels: Integer class ids, or floating distributions of the shape of `logits`.
        axis: The axis of the classes; of several axes the classes are numbered in their order.
        where: Which examples count, of the shape of `logits` without `axis`.
        class_weights: One w_j per class: an example's loss is -sum_j w_j p_j log q_j and its weight
            sum_j w_j p_j; the mean is the sum of the losses over the sum of the weights.
        label_smoothing: The share s of the uniform distribution: p becomes (1 - s) p + s / classes
            before anything is weighted.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: Where a dtype is not the one above.
        ValueError: Where shapes do not fit, or, where values are known, a label is neither a class
            id nor a distribution. Traced, a label out of range gives NaN.

    Source: the lecture's slide "Clasificación"; label smoothing: Szegedy et al., 2016.

    Example:
        >>> import jax.numpy as jnp
        >>> softmax_cross_entropy(jnp.array([[1e4, 0.0]]), jnp.array([1])).item()
        10000.0
    """
    name = "softmax_cross_entropy"
    logits, labels, axis = _joined(name, "logits", logits, labels, axis)
    given = _check(name, "logits", logits, labels, axis, where, class_weights, label_smoothing)
    inputs.check_reduction(name, reduction)
    return _from_logits(given, axis, reduction)


@partial(jax.jit, static_argnames=("axis", "reduction"))
def _from_probs(given: CrossEntropyArguments, axis: int, reduction: Reduction) -> jax.Array:
    q = _classes_last(given.scores, axis, given)
    valid = jnp.all(arithmetic.is_probability(q), axis=-1, keepdims=True)
    floor = smallest_normal(given.scores.dtype)
    log_q = arithmetic.nan_unless(valid, arithmetic.finite_log(arithmetic.clipped(q), floor))
    return _cross_entropy(log_q, given, axis, reduction)


@partial(jax.jit, static_argnames=("axis", "reduction"))
def _from_logits(given: CrossEntropyArguments, axis: int, reduction: Reduction) -> jax.Array:
    log_q = arithmetic.log_softmax(_classes_last(given.scores, axis, given))
    return _cross_entropy(log_q, given, axis, reduction)


def _cross_entropy(
    log_q: jax.Array, given: CrossEntropyArguments, axis: int, reduction: Reduction
) -> jax.Array:
    """The mean of -w log q under the labels; the mean of w is the example's weight."""
    labels, valid = _labels(given, axis, log_q)

    def mean(values: jax.Array) -> jax.Array:
        return _mean_under_labels(values, labels, given.label_smoothing)

    if given.class_weights is None:
        loss, weight = mean(-log_q), None
    else:
        w = jnp.broadcast_to(given.class_weights.astype(log_q.dtype), log_q.shape)
        loss, weight = mean(-w * log_q), mean(w)
    loss = arithmetic.nan_unless(valid, loss)
    return arithmetic.reduce(loss, reduction, given.mask, weight, given.scores.dtype)


def _mean_under_labels(
    values: jax.Array, labels: jax.Array, smoothing: jax.Array | None
) -> jax.Array:
    """sum_j p_j values_j, where p are the smoothed labels."""
    if labels.ndim < values.ndim:
        mean = placed(_chosen, cut(values)[:-1], values, labels)
    else:
        mean = jnp.sum(labels * values, axis=-1)
    if smoothing is None:
        return mean
    s = smoothing.astype(values.dtype)
    return (1 - s) * mean + s * jnp.mean(values, axis=-1)


def _chosen(values: jax.Array, ids: jax.Array) -> jax.Array:
    return jnp.take_along_axis(values, ids[..., None], axis=-1)[..., 0]


def _labels(
    given: CrossEntropyArguments, axis: int, log_q: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Ids `(...)` or distributions `(..., classes)`, hidden ones replaced, and which are valid."""
    if given.labels.ndim == log_q.ndim:
        p = _classes_last(given.labels, axis, given)
        return p, jnp.all(arithmetic.is_probability(p), axis=-1)
    ids = arithmetic.hide(given.labels, given.mask, 0)
    largest = jnp.iinfo(ids.dtype).max
    valid = (ids >= 0) & (ids <= min(log_q.shape[-1] - 1, largest))
    return jnp.where(valid, ids, 0).astype(jnp.int32), valid


def _classes_last(x: jax.Array, axis: int, given: CrossEntropyArguments) -> jax.Array:
    """`x` in the dtype to compute in, `axis` moved last, with ones in hidden examples."""
    working = compute_dtype(given.scores.dtype)
    return arithmetic.hide(jnp.moveaxis(x, axis, -1).astype(working), given.mask, 1)


def _joined(
    name: str, argument: str, scores: ArrayLike, labels: ArrayLike, axis: int | tuple[int, ...]
) -> tuple[ArrayLike, ArrayLike, int]:
    """The arguments with several axes of classes joined into one, the last."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not axes or not all(isinstance(one, int | np.integer) for one in axes):
        raise TypeError(f"{name}: axis is {axis!r}; wanted an integer or a tuple of integers")
    if not isinstance(axis, tuple):
        return scores, labels, int(axis)
    x = inputs.floating(name, argument, scores)
    if len({one % max(x.ndim, 1) for one in axes if -x.ndim <= one < x.ndim}) < len(axes):
        raise ValueError(f"{name}: {argument} has shape {x.shape}; wanted classes on axes {axis}")

    def joined(a: jax.Array) -> jax.Array:
        a = jnp.moveaxis(a, axes, range(-len(axes), 0))
        return a.reshape(*a.shape[: -len(axes)], -1)

    are_distributions = np.shape(labels) == x.shape
    return joined(x), joined(jnp.asarray(labels)) if are_distributions else labels, -1


def _check(
    name: str,
    argument: str,
    scores: ArrayLike,
    labels: ArrayLike,
    axis: int,
    where: ArrayLike | None,
    class_weights: ArrayLike | None,
    label_smoothing: ArrayLike,
) -> CrossEntropyArguments:
    x = inputs.floating(name, argument, scores)
    if not -x.ndim <= axis < x.ndim or x.shape[axis] == 0:
        raise ValueError(f"{name}: {argument} has shape {x.shape}; wanted classes on axis {axis}")
    examples = tuple(np.delete(x.shape, axis).tolist())
    y = _check_labels(name, argument, x, labels, examples)
    mask = inputs.visible(name, where, examples)
    if inputs.readable(labels, where):
        if y.ndim == x.ndim:
            _check_distributions(name, "labels", inputs.shown(labels, where, axis), axis)
        else:
            _check_ids(name, inputs.shown(labels, where), x.shape[axis])
    return CrossEntropyArguments(
        x,
        y,
        mask,
        inputs.weights(name, class_weights, x.shape[axis]),
        inputs.smoothing(name, label_smoothing),
    )


def _check_labels(
    name: str, argument: str, x: jax.Array, labels: ArrayLike, examples: tuple[int, ...]
) -> jax.Array:
    """Return `labels` as an array: ids of shape `examples` or distributions shaped as `x`."""
    y = inputs.array(name, "labels", labels)
    is_id = jnp.issubdtype(y.dtype, jnp.integer)
    given = f"labels has dtype {y.dtype} and shape {y.shape}, {argument} has shape {x.shape}"
    if not is_id and not jnp.issubdtype(y.dtype, jnp.floating):
        raise TypeError(f"{name}: {given}; wanted integer class ids or floating distributions")
    if is_id and y.shape != examples:
        raise ValueError(
            f"{name}: {given}; integer labels are class ids, wanted shape {examples} "
            "(distributions, one-hot ones too, must have a floating dtype)"
        )
    if not is_id and y.shape != x.shape:
        raise ValueError(
            f"{name}: {given}; floating labels are distributions, wanted shape {x.shape} "
            "(class ids must have an integer dtype)"
        )
    return y


def _check_ids(name: str, ids: Any, classes: int) -> None:
    """Raise where a known class id is not from 0 to `classes - 1`."""
    bad = ids[(ids < 0) | (ids >= classes)]
    if bad.size:
        raise ValueError(
            f"{name}: labels contains class id {bad[0]}; wanted ids from 0 to {classes - 1}"
        )


def _check_distributions(name: str, argument: str, p: Any, axis: int, hint: str = "") -> None:
    """Raise where known probabilities leave [0, 1] or do not sum to 1 over the last axis."""
    inputs.check_probabilities(name, argument, p, hint)
    sums = p.sum(-1, dtype=np.float64)
    bad = sums[abs(sums - 1) > arithmetic.TOLERANCE]
    if bad.size:
        raise ValueError(
            f"{name}: {argument} sums to {bad[0]:g} over axis {axis}; wanted distributions, "
            f"which sum to 1{hint}"
        )
