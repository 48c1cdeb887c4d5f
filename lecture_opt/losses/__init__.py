"""Losses: minus the log-likelihood of the lecture's models, as pure functions of arrays.

The choice of a distribution turns -log p(D|h) = -sum_i log p(y_i|x_i, h) into a loss:

| distribution of the target | from probabilities or the mean | from logits |
| --- | --- | --- |
| categorical | `categorical_cross_entropy` | `softmax_cross_entropy` |
| Bernoulli | `binary_cross_entropy` | `sigmoid_cross_entropy` |
| Normal | `mean_squared_error`, `gaussian_nll` | |
| Laplace | `mean_absolute_error` | |

`log_likelihood` is the sum itself, and `l2_penalty` the term that the lecture adds to it.

The same rules hold for all of them:

- Predictions come first and targets second. Shapes must be equal; nothing is broadcast.
- `where` is boolean, of the shape of the loss per example. What it hides, NaN or infinity
  included, leaves no trace in the value or in the gradient.
- `reduction` is "mean" (over what `where` shows; 0 where it shows nothing), "sum" or "none".
- Everything is computed in float32, or in float64 for float64 predictions, and the result has
  the dtype of the predictions. Targets may have any real dtype.
- A wrong shape or dtype is an error. So is a wrong value, a class id or a probability out of its
  range, where values are known; outside of `jit` this reads them back from the device, unless
  other processes hold a part of them. Where values are traced by `jit`, `vmap` or `grad`, the
  example with a wrong one has a loss and a gradient of NaN.

Example:
    >>> import jax.numpy as jnp
    >>> logits = jnp.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> labels = jnp.array([0, 2])
    >>> print(softmax_cross_entropy(logits, labels, reduction="none").round(4))
    [0.2395 1.0986]
"""

from lecture_opt.losses.binary import binary_cross_entropy, sigmoid_cross_entropy
from lecture_opt.losses.categorical import categorical_cross_entropy, softmax_cross_entropy
from lecture_opt.losses.likelihood import log_likelihood
from lecture_opt.losses.penalty import l2_penalty
from lecture_opt.losses.regression import gaussian_nll, mean_absolute_error, mean_squared_error

__all__ = [
    "binary_cross_entropy", "categorical_cross_entropy", "gaussian_nll", "l2_penalty",
    "log_likelihood", "mean_absolute_error", "mean_squared_error", "sigmoid_cross_entropy",
    "softmax_cross_entropy",
]  # fmt: skip
