"""A picture of `backprop.explain`: activations, deltas and gradients over the depth of a net."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lecture_opt.backprop.explanation import Explanation
from lecture_opt.pages.styles import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANELS = {
    "activations": "norm of the activations",
    "deltas": "norm of the delta received",
    "gradients": "norm of the gradient",
    "dead": "share of dead ReLUs",
}


def draw(explanations: Mapping[str, Explanation], figure: "Figure | None" = None) -> "Figure":
    """Draw one panel per quantity and one line per named explanation, modules from left to right.

    The backward pass goes from right to left. A line of deltas that falls on this way is a
    vanishing gradient, one that rises is an exploding gradient. The scale is logarithmic. The
    panel of dead ReLUs is left out where no net has a ReLU. It draws into `figure` if there is
    one, as `pyplot.figure()`. It needs matplotlib (extra `judge`).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import lecture_opt as lo
        >>> from lecture_opt import backprop
        >>> params = lo.mlp([2, 3, 2]).init(jax.random.key(0))
        >>> net = backprop.chain(backprop.dense, backprop.relu, backprop.dense)
        >>> batch = jnp.ones((1, 2)), jnp.array([0])
        >>> figure = draw({"relu": backprop.explain(net, params, batch)})
        >>> figure.savefig("flow.png")  # doctest: +SKIP
    """
    from matplotlib.figure import Figure

    found = explanations.values()
    shown = [key for key in _PANELS if any(np.any(~np.isnan(getattr(e, key))) for e in found)]
    figure = figure or Figure()
    figure.set_size_inches(3.4 * len(shown), 3.4)
    figure.set_layout_engine("constrained")
    axes = np.atleast_1d(figure.subplots(1, len(shown)))
    for axis, key in zip(axes, shown, strict=True):
        for label, explanation in explanations.items():
            colour = COLOURS[sorted(explanations).index(label) % len(COLOURS)]
            values = np.asarray(getattr(explanation, key))
            known = np.flatnonzero(~np.isnan(values))
            axis.plot(known, values[known], "o-", markersize=3, color=colour, label=label)
        axis.set(title=_PANELS[key], xlabel="module, from the input")
        axis.xaxis.get_major_locator().set_params(integer=True)
        if key == "dead":
            axis.set_ylim(-0.05, 1.05)
        else:
            axis.set_yscale("log", nonpositive="mask")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(explanations)
    )
    return figure
