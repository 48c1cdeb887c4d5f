"""The lecture's link between statistics and losses: the log-likelihood of i.i.d. data."""

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import jax
from jax.typing import ArrayLike

from lecture_opt.losses.binary import binary_cross_entropy
from lecture_opt.losses.categorical import categorical_cross_entropy
from lecture_opt.losses.regression import gaussian_nll, is_given

Distribution: TypeAlias = Literal["categorical", "bernoulli", "normal"]


def log_likelihood(
    distribution: Distribution,
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    scale: ArrayLike = 1.0,
    where: ArrayLike | None = None,
) -> jax.Array:
    """sum_i log p(y_i | x_i, h) of i.i.d. data; `predictions` are what h makes of the x_i.

    The logarithm of each density is a loss with its sign changed:

    - "categorical", p(y|x) = prod_j q_j^p_j, of probabilities q and labels p:
      sum_i sum_j p_ij log q_ij, the cross-entropy.
    - "bernoulli", p(y|x) = q^y (1 - q)^(1 - y), of the probability q that y is 1:
      sum_i y_i log q_i + (1 - y_i) log(1 - q_i), the binary cross-entropy.
    - "normal", p(y|x) = exp(-((y - f) / sigma)^2 / 2) / (sigma sqrt(2 pi)), of the mean f and
      sigma = `scale`: -N log(sigma sqrt(2 pi)) - sum_i (y_i - f_i)^2 / (2 sigma^2), where only
      the squared error depends on f.

    `predictions` and `targets` have the shapes that each loss wants; `where` tells which examples
    count.

    Raises:
        ValueError: For another distribution, for a `scale` that it does not have, and where the
            loss raises.

    Source: the lecture's slides "Teorema de Bayes" and "Aprendizaje supervisado".

    Example:
        >>> import jax.numpy as jnp
        >>> heads = jnp.full(3, 0.5)
        >>> print(f"{log_likelihood('bernoulli', heads, jnp.array([1, 0, 1])):.4f}")  # 3 log(1/2)
        -2.0794
    """
    match distribution:
        case "normal":
            return -gaussian_nll(predictions, targets, scale, where=where, reduction="sum")
        case "categorical":
            loss: Callable[..., jax.Array] = categorical_cross_entropy
        case "bernoulli":
            loss = binary_cross_entropy
        case _:
            raise ValueError(
                f"log_likelihood: distribution is {distribution!r}; "
                f"wanted one of {get_args(Distribution)}"
            )
    if is_given(scale):
        raise ValueError(f"log_likelihood: scale is given, but {distribution!r} does not have one")
    return -loss(predictions, targets, where=where, reduction="sum")
