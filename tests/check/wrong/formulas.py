"""Bugs that break no property, only the formula: the reference mode must name the cause."""

import jax
import jax.numpy as jnp
import optax

from .contract import Trace, tmap, zeros
from .numbers import Moments, start
from .registry import named_by

ADAM = optax.adam(1e-2)
RMSPROP = optax.rmsprop(1e-2, decay=0.9, eps=1e-6)
MOMENTUM = optax.sgd(1e-2, momentum=0.9)
ADAGRAD = optax.adagrad(1e-2, initial_accumulator_value=0.1)


def adam(
    *,
    rate=1e-2,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    correct=(1, 1),
    inside=False,
    kept=0.1,
    shift=0,
    l2=0.0,
):
    """Adam with room for bugs: `kept` is the factor on new gradients, where 1 - b1 belongs."""

    def update(grads, state, params=None):
        count = optax.safe_increment(state.count)
        if l2:
            grads = tmap(lambda g, p: g + l2 * p, grads, params)
        mu = tmap(lambda m, g: b1 * m + kept * g, state.mu, grads)
        nu = tmap(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, grads)

        def step(m, v):
            t = (count + shift).astype(jnp.result_type(m, jnp.float32))
            m = m / (1 - jnp.power(jnp.asarray(b1, t.dtype), t)) ** correct[0]
            v = v / (1 - jnp.power(jnp.asarray(b2, t.dtype), t)) ** correct[1]
            return -rate * m / (jnp.sqrt(v + eps) if inside else jnp.sqrt(v) + eps)

        return tmap(lambda m, v: step(m, v).astype(m.dtype), mu, nu), Moments(count, mu, nu)

    return optax.GradientTransformation(start, update)


@named_by(ADAM, "bias correction is not applied to both moments")
def adam_without_bias_correction():
    return adam(correct=(0, 0))


@named_by(ADAM, "bias correction is not applied to the second moment")
def adam_without_second_correction():
    return adam(correct=(1, 0))


@named_by(ADAM, "bias correction is applied twice to the first moment")
def adam_with_first_correction_twice():
    return adam(correct=(2, 1))


@named_by(ADAM, "eps is moved inside the square root")
def adam_with_eps_inside():
    return adam(inside=True)


@named_by(ADAM, "b2 is 0.99 instead of 0.999")
def adam_with_another_b2():
    return adam(b2=0.99)


@named_by(ADAM, "gradients are summed")
def adam_that_sums():
    return adam(kept=1.0)


@named_by(ADAM, "bias corrections use t + 1")
def adam_counting_from_two():
    return adam(shift=1)


@named_by(optax.adamw(1e-2, weight_decay=1e-2), "is coupled")
def adamw_with_decay_in_the_gradient():
    return optax.chain(optax.add_decayed_weights(1e-2), optax.adam(1e-2))


@named_by(optax.adamw(1e-2, weight_decay=1e-2), "weight decay is left out")
def adamw_without_decay():
    return optax.adam(1e-2)


@named_by(optax.adamw(1e-2, weight_decay=1e-2), "weight decay is 1 instead of 0.01")
def adamw_with_decay_not_scaled_by_the_rate():
    return optax.chain(optax.adam(1e-2), optax.add_decayed_weights(-1e-2))


@named_by(RMSPROP, "eps is moved outside the square root")
def rmsprop_with_eps_outside():
    return optax.rmsprop(1e-2, decay=0.9, eps=1e-6, eps_in_sqrt=False)


@named_by(RMSPROP, "summed, without decay")
def rmsprop_that_sums():
    return optax.adagrad(1e-2, initial_accumulator_value=0.0, eps=1e-6)


@named_by(RMSPROP, "accumulator starts from 1")
def rmsprop_starting_from_one():
    return optax.rmsprop(1e-2, decay=0.9, eps=1e-6, initial_scale=1.0)


@named_by(ADAGRAD, "accumulator starts from 0")
def adagrad_starting_from_zero():
    return optax.adagrad(1e-2, initial_accumulator_value=0.0)


@named_by(ADAGRAD, "the square root is left out")
def adagrad_without_the_root():
    def update(grads, state, params=None):
        v = tmap(lambda v, g: v + g * g, state, grads)
        return tmap(lambda g, v: -1e-2 * g / (v + 1e-7), grads, v), v

    return optax.GradientTransformation(
        lambda p: jax.tree.map(lambda x: jnp.full_like(x, 0.1), p), update
    )


@named_by(MOMENTUM, "momentum is applied twice")
def momentum_applied_twice():
    return optax.chain(optax.trace(0.9), optax.sgd(1e-2, momentum=0.9))


@named_by(MOMENTUM, "the gradients are averaged")
def momentum_that_averages():
    return optax.chain(optax.ema(0.9, debias=False), optax.sgd(1e-2))


@named_by(MOMENTUM, "the first moment is used before")
def momentum_one_step_late():
    def update(grads, state, params=None):
        return tmap(lambda v: -1e-2 * v, state), tmap(lambda v, g: 0.9 * v + g, state, grads)

    return optax.GradientTransformation(lambda p: tmap(jnp.zeros_like, p), update)


@named_by(optax.sgd(1e-2, momentum=0.9, nesterov=True), "the Nesterov form is not used")
def nesterov_in_name_only():
    return optax.sgd(1e-2, momentum=0.9)


@named_by(MOMENTUM, "learning_rate is 0.001 instead of 0.01")
def momentum_with_a_tenth_of_the_rate():
    return optax.sgd(1e-3, momentum=0.9)


LION = optax.lion(1e-3, weight_decay=0.0)


@named_by(ADAM, "b1 and b2 are exchanged")
def adam_with_decays_exchanged():
    return optax.adam(1e-2, b1=0.999, b2=0.9)


@named_by(ADAM, "b1 and 1 - b1 are exchanged")
def adam_with_the_new_gradient_weighted_by_b1():
    return optax.adam(1e-2, b1=0.1)


def corrected(correct, b1=0.9, b2=0.999):
    """Adam whose direction is made of (mu, nu, count) by a function."""

    def update(grads, state, params=None):
        count = optax.safe_increment(state.count)
        mu = tmap(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
        nu = tmap(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, grads)
        t = count.astype(jnp.result_type(float))
        moved = tmap(lambda m, v: (-1e-2 * correct(m, v, t)).astype(m.dtype), mu, nu)
        return moved, Moments(count, mu, nu)

    return optax.GradientTransformation(start, update)


@named_by(ADAM, "bias correction uses b1 for both moments")
def adam_correcting_both_with_b1():
    return corrected(lambda m, v, t: m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.9**t)) + 1e-8))


@named_by(ADAM, "exchanged with 1 - b in the moments, not in the bias correction")
def adam_with_turned_averages():
    unbiased = lambda m, v, t: m / (1 - 0.9**t) / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8)  # noqa: E731
    return corrected(unbiased, b1=0.1, b2=0.001)


@named_by(ADAM, "the largest second moment so far is used")
def adam_that_is_amsgrad():
    return optax.amsgrad(1e-2)


@named_by(ADAM, "eps is added before the root is bias-corrected")
def adam_with_eps_before_the_correction():
    return corrected(
        lambda m, v, t: m / (1 - 0.9**t) * jnp.sqrt(1 - 0.999**t) / (jnp.sqrt(v) + 1e-8)
    )


@named_by(ADAM, "the bias corrections use 2 t")
def adam_counting_twice():
    return corrected(
        lambda m, v, t: m / (1 - 0.9 ** (2 * t)) / (jnp.sqrt(v / (1 - 0.999 ** (2 * t))) + 1e-8)
    )


@named_by(ADAM, "the bias corrections stay at t = 1")
def adam_whose_count_stays():
    return corrected(lambda m, v, t: m / 0.1 / (jnp.sqrt(v / 0.001) + 1e-8))


@named_by(MOMENTUM, "the sign of b1 is flipped")
def momentum_that_brakes():
    return optax.sgd(1e-2, momentum=-0.9)


@named_by(LION, "b1 and b2 are exchanged")
def lion_with_decays_exchanged():
    return optax.lion(1e-3, b1=0.99, b2=0.9, weight_decay=0.0)


@named_by(LION, "of the new moment itself")
def lion_that_is_signum():
    return optax.signum(1e-3, beta=0.99)


def over_root(moment):
    """The gradient over the root of a second moment made by a function of (v, g)."""

    def update(grads, state, params=None):
        v = tmap(moment, state.velocity, grads)
        moved = tmap(lambda v, g: (-1e-2 * g / jnp.sqrt(v + 1e-6)).astype(g.dtype), v, grads)
        return moved, Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@named_by(RMSPROP, "the gradients are not squared")
def rmsprop_of_absolute_values():
    return over_root(lambda v, g: 0.9 * v + 0.1 * jnp.abs(g))


@named_by(
    optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1e-2)), "each leaf has its own factor"
)
def clipped_leaf_by_leaf():
    def update(grads, state, params=None):
        def step(g):
            return -1e-2 * g / jnp.maximum(1.0, jnp.sqrt(jnp.sum(g * g)))

        return tmap(step, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@named_by(optax.chain(optax.clip(0.5), optax.sgd(1e-2)), "a clip from one side")
def clipped_from_above():
    def update(grads, state, params=None):
        return tmap(lambda g: -1e-2 * jnp.minimum(g, 0.5), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@named_by(optax.adamw(1e-2, weight_decay=1e-2), "times the params")
def adamw_whose_decay_grows():
    def update(grads, state, params=None):
        moved, new = ADAM.update(grads, state[0], params)
        count = optax.safe_increment(state[1])
        decay = tmap(lambda u, p: (u - 1e-4 * count * p).astype(u.dtype), moved, params)
        return decay, (new, count)

    return optax.GradientTransformation(lambda p: (ADAM.init(p), jnp.zeros([], jnp.int32)), update)


CLIPPED = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1e-2))


@named_by(CLIPPED, "one step late")
def clipped_and_delayed():
    def update(grads, state, params=None):
        moved, new = CLIPPED.update(grads, state[0], params)
        return state[1], (new, moved)

    return optax.GradientTransformation(lambda p: (CLIPPED.init(p), zeros(p)), update)
