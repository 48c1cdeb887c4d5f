"""Bugs of purity and of transformations: hidden state, in-place writes, Python on tracers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from .contract import Counted, Trace, tmap, zeros
from .registry import caught_by

KEPT = {}


@caught_by("purity.no_hidden_state")
def global_velocity(learning_rate=0.1):
    def update(grads, state, params=None):
        for index, g in enumerate(jax.tree.leaves(grads)):
            KEPT[index] = 0.9 * KEPT[index] + g
        v = jax.tree.unflatten(jax.tree.structure(grads), [KEPT[i] for i in sorted(KEPT)])
        return tmap(lambda v: -learning_rate * v, v), state

    def init(params):
        KEPT.clear()
        KEPT.update(enumerate(jax.tree.leaves(zeros(params))))
        return ()

    return optax.GradientTransformation(init, update)


@caught_by("purity.deterministic")
def closure_counter(learning_rate=0.1):
    steps = [0]

    def update(grads, state, params=None):
        steps[0] += 1
        return tmap(lambda g: -learning_rate / steps[0] * g, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("purity.no_hidden_state")
def remembers_the_first_params(learning_rate=0.1):
    anchor = {}

    def init(params):
        anchor["params"] = params
        return ()

    def update(grads, state, params):
        if params is None:
            raise ValueError("params are needed")
        pull = lambda g, p, a: -learning_rate * (g + 0.01 * (p - a))  # noqa: E731
        return tmap(pull, grads, params, anchor["params"]), state

    return optax.GradientTransformation(init, update)


@caught_by("purity.deterministic")
def numpy_noise(learning_rate=0.1):
    def update(grads, state, params=None):
        noisy = lambda g: -learning_rate * (g + 0.01 * np.random.normal(size=g.shape))  # noqa: E731, NPY002
        return tmap(noisy, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("purity.inputs_unchanged")
def clips_numpy_in_place(learning_rate=0.1):
    def update(grads, state, params=None):
        def step(g):
            if isinstance(g, np.ndarray):
                np.clip(g, -1, 1, out=g)
            return -learning_rate * jnp.clip(g, -1, 1)

        return tmap(step, grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("purity.inputs_unchanged")
def writes_into_the_state_dict(learning_rate=0.1):
    def init(params):
        return {"count": jnp.zeros([], jnp.int32)}

    def update(grads, state, params=None):
        state["count"] = optax.safe_increment(state["count"])
        rate = learning_rate / jnp.sqrt(state["count"])
        return tmap(lambda g: (-rate * g).astype(g.dtype), grads), state

    return optax.GradientTransformation(init, update)


@caught_by("transforms.jit_equals_eager")
def python_if_on_count(learning_rate=0.1):
    def update(grads, state, params=None):
        rate = learning_rate if state.count > 2 else 0.1 * learning_rate
        return tmap(lambda g: -rate * g, grads), Counted(optax.safe_increment(state.count))

    return optax.GradientTransformation(lambda p: Counted(jnp.zeros([], jnp.int32)), update)


@caught_by("transforms.jit_equals_eager")
def numpy_on_leaves(learning_rate=0.1):
    def update(grads, state, params=None):
        return tmap(lambda g: jnp.asarray(-learning_rate * np.sign(np.array(g))), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("transforms.jit_equals_eager")
def float_of_the_norm(learning_rate=0.1):
    def update(grads, state, params=None):
        norm = float(optax.global_norm(grads))
        return tmap(lambda g: -learning_rate * g / max(norm, 1.0), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("purity.no_leaked_tracers")
def keeps_the_last_gradient(learning_rate=0.1):
    class Rule:
        last = None

        def init(self, params):
            return ()

        def update(self, grads, state, params=None):
            self.last = grads
            return tmap(lambda g: -learning_rate * g, grads), state

    return Rule()


@caught_by("transforms.vmap_equals_loop")
def batch_axis_mistaken(learning_rate=0.1):
    def update(grads, state, params=None):
        sizes = jax.pure_callback(
            lambda g: np.float32(np.linalg.norm(g)),
            jax.ShapeDtypeStruct((), jnp.float32),
            grads["bias"] if isinstance(grads, dict) and "bias" in grads else jnp.ones(3),
            vmap_method="expand_dims",
        )
        return tmap(lambda g: -learning_rate * g * (1 + sizes).astype(g.dtype), grads), state

    return optax.GradientTransformation(lambda p: (), update)


@caught_by("transforms.differentiable")
def norm_without_guard(learning_rate=0.1):
    def update(grads, state, params):
        if params is None:
            raise ValueError("params are needed to measure the distance from the start")
        far = tmap(lambda p, s: jnp.sqrt(jnp.sum((p - s) ** 2)), params, state.velocity)
        return tmap(lambda g, d: -learning_rate * (1 + d) * g, grads, far), state

    return optax.GradientTransformation(lambda p: Trace(tmap(jnp.array, p)), update)


@caught_by("arguments.inject_hyperparams")
def python_if_on_the_rate(learning_rate=0.1):
    if learning_rate < 0:
        raise ValueError("learning_rate must be positive")
    return optax.sgd(learning_rate)


@caught_by("devices.lowers_for_cuda")
def host_callback(learning_rate=0.1):
    def log(grads):
        jax.debug.callback(lambda x: None, jax.tree.leaves(grads)[0])

    class State(NamedTuple):
        count: object

    def update(grads, state, params=None):
        clipped = lambda g: jax.pure_callback(  # noqa: E731
            lambda x: np.clip(x, -1, 1),
            jax.ShapeDtypeStruct(g.shape, g.dtype),
            g,
            vmap_method="expand_dims",
        )
        return tmap(lambda g: -learning_rate * clipped(g), grads), state

    return optax.GradientTransformation(lambda p: State(jnp.zeros([], jnp.int32)), update)


def noisy(learning_rate, *, keep, own):
    """Noise from a key in the state: `keep` the old key or the new one, `own` keys for leaves."""

    def update(grads, state, params=None):
        now, new = jax.random.split(state)
        leaves, structure = jax.tree.flatten(grads)
        keys = jax.random.split(now, max(len(leaves), 1)) if own else [now] * len(leaves)
        moved = [
            -learning_rate
            * (g + jnp.asarray(0.1, g.dtype) * jax.random.normal(k, g.shape, g.dtype))
            for g, k in zip(leaves, keys, strict=False)
        ]
        return structure.unflatten(moved), state if keep else new

    return optax.GradientTransformation(lambda p: jax.random.PRNGKey(0), update)


@caught_by("purity.fresh_noise")
def key_never_advanced(learning_rate=0.1):
    return noisy(learning_rate, keep=True, own=True)


@caught_by("purity.fresh_noise")
def one_key_for_all_leaves(learning_rate=0.1):
    return noisy(learning_rate, keep=False, own=False)


@caught_by("arguments.each_matters")
def momentum_written_out(learning_rate=0.1, momentum=0.9):
    def update(grads, state, params=None):
        v = tmap(lambda v, g: 0.9 * v + g, state.velocity, grads)
        return tmap(lambda v: -learning_rate * v, v), Trace(v)

    return optax.GradientTransformation(lambda p: Trace(zeros(p)), update)


@caught_by("identity.what_it_is")
def decays_exchanged(learning_rate=1e-3, b1=0.9, b2=0.999):
    return optax.adam(learning_rate, b1=b2, b2=b1)
