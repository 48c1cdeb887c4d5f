"""The six train something small inside every wrapper and library they are meant to fit into."""

import equinox as eqx
import flax.linen as nn
import flax.nnx as nnx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import optax
import optax.contrib
import optimistix
import pytest
import reference
from flax.training.train_state import TrainState

import lecture_opt as lo

RATES = {make: reference.RATES.get(make.__name__, 0.03) for make in reference.MAKERS}
each = pytest.mark.parametrize("make", RATES, ids=lambda f: f.__name__)
X = jax.random.normal(jax.random.key(0), (64, 3))
Y = X @ jnp.array([1.0, -2.0, 0.5]) + 0.3


@pytest.fixture(autouse=True)
def standard_promotion():
    """The libraries here do not all work under strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def loss_fn(params):
    return lo.mean_squared_error(X @ params["w"] + params["b"], Y)


def train(optimizer, params=None, steps=150):
    params = params or {"w": jnp.zeros(3), "b": jnp.zeros(())}

    def step(carry, _):
        params, state = carry
        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, state = optimizer.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    @jax.jit
    def run(params):
        return jax.lax.scan(step, (params, optimizer.init(params)), length=steps)

    (params, state), losses = jax.device_get(run(params))
    return params, state, losses


def assert_learned(losses):
    assert losses[-1] < 0.05 * losses[0]


@each
def test_chain(make):
    _, _, losses = train(optax.chain(optax.clip_by_global_norm(10.0), make(RATES[make])))
    assert_learned(losses)


@each
def test_multi_transform_moves_each_part_by_its_own_rule(make):
    labels = {"w": "ours", "b": "frozen"}
    both = {"ours": make(RATES[make]), "frozen": optax.set_to_zero()}
    params, _, losses = train(optax.multi_transform(both, labels))
    assert params["b"] == 0
    assert losses[-1] < 0.2 * losses[0]


@each
def test_masked_leaves_the_rest_to_the_next(make):
    masked = optax.masked(make(RATES[make]), {"w": True, "b": False})
    inverse = optax.masked(optax.set_to_zero(), {"w": False, "b": True})
    params, _, losses = train(optax.chain(masked, inverse))
    assert params["b"] == 0
    assert losses[-1] < 0.2 * losses[0]


@each
def test_inject_hyperparams_changes_the_rate_between_steps(make):
    optimizer = optax.inject_hyperparams(make)(learning_rate=RATES[make])
    _, _, losses = train(optimizer)
    assert_learned(losses)

    @jax.jit
    def step_without_a_rate():
        state = optimizer.init(jnp.ones(3))
        state.hyperparams["learning_rate"] = jnp.zeros(())
        return optimizer.update(jnp.ones(3), state, jnp.ones(3))[0]

    np.testing.assert_array_equal(step_without_a_rate(), np.zeros(3))


@each
def test_multi_steps_steps_once_in_two(make):
    optimizer = optax.MultiSteps(make(RATES[make]), every_k_schedule=2)
    _, state, losses = train(optimizer, steps=300)
    assert_learned(losses)
    assert state.inner_opt_state.count == 150


@each
def test_apply_if_finite_skips_a_nan(make):
    optimizer = optax.apply_if_finite(make(RATES[make]), max_consecutive_errors=3)
    _, _, losses = train(optimizer)
    assert_learned(losses)

    @jax.jit
    def step_of_a_nan():
        state = optimizer.init(jnp.ones(2))
        return optimizer.update(jnp.array([jnp.nan, 1.0]), state, jnp.ones(2))

    updates, after = step_of_a_nan()
    np.testing.assert_array_equal(updates, np.zeros(2))
    assert after.inner_state.count == 0


@each
def test_schedule_free(make):
    rate = RATES[make]
    _, _, losses = train(optax.contrib.schedule_free(make(rate), rate))
    assert losses[-1] < 0.2 * losses[0]


@each
def test_flax_train_state(make):
    model = nn.Dense(1)
    params = jax.jit(model.init)(jax.random.key(0), X)["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=make(RATES[make]))

    def step(state, _):
        def loss_fn(params):
            return lo.mean_squared_error(state.apply_fn({"params": params}, X)[:, 0], Y)

        loss, grads = jax.value_and_grad(loss_fn)(state.params)
        return state.apply_gradients(grads=grads), loss

    _, losses = jax.jit(lambda state: jax.lax.scan(step, state, length=150))(state)
    assert_learned(losses)


@each
def test_flax_nnx_optimizer(make):
    model = nnx.Linear(3, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, make(RATES[make]), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss_fn(model):
            return lo.mean_squared_error(model(X)[:, 0], Y)

        loss, grads = nnx.value_and_grad(loss_fn)(model)
        optimizer.update(model, grads)
        return loss

    assert_learned([step(model, optimizer) for _ in range(150)])


@each
@pytest.mark.parametrize("select", [eqx.is_array, eqx.is_inexact_array], ids=["all", "inexact"])
def test_equinox_model_with_an_integer_leaf(make, select):
    class Line(eqx.Module):
        w: jax.Array
        b: jax.Array
        version: jax.Array

    model = Line(jnp.zeros(3), jnp.zeros(()), jnp.int32(1))
    optimizer = make(RATES[make])
    state = optimizer.init(eqx.filter(model, select))

    @eqx.filter_jit
    def step(model, state):
        loss, grads = eqx.filter_value_and_grad(lambda m: lo.mean_squared_error(X @ m.w + m.b, Y))(
            model
        )
        updates, state = optimizer.update(grads, state, eqx.filter(model, select))
        return eqx.apply_updates(model, updates), state, loss

    losses = []
    for _ in range(150):
        model, state, loss = step(model, state)
        losses.append(loss)
    assert_learned(losses)
    assert model.version == 1


@each
def test_numpyro_svi_optimizer(make):
    optimizer = numpyro.optim.optax_to_numpyro(make(RATES[make]))
    state = optimizer.init({"w": jnp.zeros(3), "b": jnp.zeros(())})

    def step(state, _):
        (loss, _), state = optimizer.eval_and_update(lambda p: (loss_fn(p), None), state)
        return state, loss

    _, losses = jax.jit(lambda state: jax.lax.scan(step, state, length=150))(state)
    assert_learned(losses)


@each
def test_optimistix_minimiser(make):
    solver = optimistix.OptaxMinimiser(make(RATES[make]), rtol=1e-5, atol=1e-5)
    start = {"w": jnp.zeros(3), "b": jnp.zeros(())}
    found = optimistix.minimise(lambda p, _: loss_fn(p), solver, start, max_steps=500, throw=False)
    assert loss_fn(found.value) < 0.05 * loss_fn(start)
