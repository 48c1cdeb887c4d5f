"""Rules that gather: gradients are summed before them or steps after, as `apply_every` does.

Before a rule, the sum of so many gradients comes with the last of them, and zeros come before it.
After a rule, each gradient makes a step, and the sum of so many steps comes with the last of them.
Where a whole optimizer waits instead, as in `MultiSteps`, its rule is found without this.
"""

from typing import Any

import numpy as np

from lecture_opt.inspect import measuring, rules
from lecture_opt.inspect.measuring import Motion


def gathering(motion: Motion, grads: Any, seen: Any, micro: int) -> Motion:
    """The motion of a leaf that no rule moves by itself, if it gathers.

    Args:
        motion: What is known of it.
        grads: The gradients, each of which came once.
        seen: The answers to them at params of 0 and of 1, as (values, steps, columns).
        micro: The distance of steps that move some leaf.
    """
    moved = np.flatnonzero(np.any(seen[0], axis=1))
    if motion.identity is not None or not len(moved):
        return motion
    found = after(grads, seen, micro) if micro > 1 else before(grads, seen, int(moved[0]) + 1)
    return found or motion


def before(grads: Any, seen: Any, every: int) -> Motion | None:
    """A rule of summed gradients, or of their mean."""
    if every == 1:
        return None
    for far in (0.0, np.inf):
        for how, parts in (("sum", 1), ("mean", every)):
            sent = rules.summed(grads, every) / parts
            identity = rules.identify(sent, seen[0], far=far)
            if identity is not None:
                decay = measuring.decay(identity, sent, *seen)
                return Motion(identity.text, identity, decay, every, how)
    return None


def after(grads: Any, seen: Any, every: int) -> Motion | None:
    """A rule whose steps are summed."""
    still, moved = seen[:, every - 1 :: every]
    identity = rules.identify(grads, still, every=every)
    if identity is None:
        return None
    decay = measuring.decay(identity, None, still, moved)
    if decay.kind == "decoupled":
        decay = decay._replace(amount=measuring.short(decay.amount / every))
    return Motion(identity.text, identity, decay, every, "sum of steps")
