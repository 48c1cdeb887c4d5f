"""Binary cross-entropy: minus the log-likelihood of a Bernoulli model."""

from functools import partial

import jax
from jax.typing import ArrayLike

from lecture_opt.losses import _arithmetic as arithmetic
from lecture_opt.losses import _inputs as inputs
from lecture_opt.losses._inputs import CrossEntropyArguments, Reduction
from lecture_opt.numerics import compute_dtype, smallest_normal


def binary_cross_entropy(
    probs: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    label_smoothing: ArrayLike = 0.0,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Minus the log-density of a Bernoulli distribution: -p log q - (1 - p) log(1 - q).

    `probs` are the q, the probability that the target is 1; `labels` are the p, from 0 to 1, of
    the same shape and any real dtype. The other arguments are those of `sigmoid_cross_entropy`;
    use that function where you have logits.

    At q = 0 and q = 1 both logarithms stay finite and keep a gradient, as
    `categorical_cross_entropy` explains.

    Raises:
        ValueError: Where values are known, also for a `probs` or `labels` out of [0, 1].

    Source: the lecture's slide "Clasificación binaria".

    Example:
        >>> import jax.numpy as jnp
        >>> probs = jnp.array([0.5, 0.5, 1.0])
        >>> loss = binary_cross_entropy(probs, jnp.array([0, 1, 1]), reduction="sum")
        >>> print(f"{loss:.4f}")  # 2 log(2)
        1.3863
    """
    name = "binary_cross_entropy"
    given = _check(name, "probs", probs, labels, where, class_weights, label_smoothing)
    inputs.check_reduction(name, reduction)
    if inputs.readable(probs, where):
        hint = " (these look like logits; use sigmoid_cross_entropy)"
        inputs.check_probabilities(name, "probs", inputs.shown(probs, where), hint)
        if inputs.readable(labels):
            inputs.check_order(name, inputs.shown(probs, where), inputs.shown(labels, where))
    return _from_probs(given, reduction)


def sigmoid_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    class_weights: ArrayLike | None = None,
    label_smoothing: ArrayLike = 0.0,
    reduction: Reduction = "mean",
) -> jax.Array:
    """Minus the log-density of a Bernoulli distribution with q = sigmoid(logits).

    The stable form of `binary_cross_entropy`. With reduction "none" it equals
    `optax.sigmoid_binary_cross_entropy`. It is `softmax_cross_entropy` of two classes whose
    logits differ by `logits`, and its options mean the same.

    Args:
        logits: The log(q / (1 - q)), of any shape.
        labels: Targets from 0 to 1 of the same shape, of any real dtype.
        where: Which elements count.
        class_weights: The weights (w_0, w_1) of targets 0 and 1: an element's loss is
            -w_1 p log q - w_0 (1 - p) log(1 - q), and its weight in a mean w_1 p + w_0 (1 - p).
        label_smoothing: The labels become (1 - s) p + s / 2.
        reduction: "mean", "sum" or "none".

    Raises:
        TypeError: Where a dtype is not real.
        ValueError: Where shapes differ, or, where values are known, a label is out of [0, 1].
            Traced, that label gives NaN.

    Source: the lecture's slide "Clasificación binaria".

    Example:
        >>> import jax.numpy as jnp
        >>> sigmoid_cross_entropy(jnp.array([-1e4, 1e4]), jnp.array([1, 1])).item()
        5000.0
    """
    name = "sigmoid_cross_entropy"
    given = _check(name, "logits", logits, labels, where, class_weights, label_smoothing)
    inputs.check_reduction(name, reduction)
    return _from_logits(given, reduction)


@partial(jax.jit, static_argnames="reduction")
def _from_probs(given: CrossEntropyArguments, reduction: Reduction) -> jax.Array:
    probs = _shown(given.scores, given)
    q, floor = arithmetic.clipped(probs), smallest_normal(given.scores.dtype)
    log_q = arithmetic.nan_unless(arithmetic.is_probability(probs), arithmetic.finite_log(q, floor))
    return _cross_entropy(log_q, arithmetic.finite_log_complement(q, floor), given, reduction)


@partial(jax.jit, static_argnames="reduction")
def _from_logits(given: CrossEntropyArguments, reduction: Reduction) -> jax.Array:
    logits = _shown(given.scores, given)
    log_q = arithmetic.lowest(jax.nn.log_sigmoid(logits))
    log_not_q = arithmetic.lowest(jax.nn.log_sigmoid(-logits))
    return _cross_entropy(log_q, log_not_q, given, reduction)


def _cross_entropy(
    log_q: jax.Array, log_not_q: jax.Array, given: CrossEntropyArguments, reduction: Reduction
) -> jax.Array:
    labels = p = _shown(given.labels, given)
    if given.label_smoothing is not None:
        s = given.label_smoothing.astype(p.dtype)
        p = (1 - s) * p + s / 2
    if given.class_weights is None:
        loss, weight = -p * log_q - (1 - p) * log_not_q, None
    else:
        w_0, w_1 = given.class_weights.astype(p.dtype)
        loss = -w_1 * p * log_q - w_0 * (1 - p) * log_not_q
        weight = w_1 * p + w_0 * (1 - p)
    loss = arithmetic.nan_unless(arithmetic.is_probability(labels), loss)
    return arithmetic.reduce(loss, reduction, given.mask, weight, given.scores.dtype)


def _shown(x: jax.Array, given: CrossEntropyArguments) -> jax.Array:
    """`x` in the dtype to compute in, with ones where it is hidden."""
    working = compute_dtype(given.scores.dtype)
    return arithmetic.hide(x.astype(working), given.mask, 1)


def _check(
    name: str,
    argument: str,
    scores: ArrayLike,
    labels: ArrayLike,
    where: ArrayLike | None,
    class_weights: ArrayLike | None,
    label_smoothing: ArrayLike,
) -> CrossEntropyArguments:
    x = inputs.floating(name, argument, scores)
    y = inputs.matching(name, "labels", labels, argument, x)
    mask = inputs.visible(name, where, x.shape)
    if inputs.readable(labels, where):
        inputs.check_probabilities(name, "labels", inputs.shown(labels, where))
    return CrossEntropyArguments(
        x, y, mask, inputs.weights(name, class_weights, 2), inputs.smoothing(name, label_smoothing)
    )
