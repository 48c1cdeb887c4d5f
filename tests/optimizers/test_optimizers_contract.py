"""What JAX code may rely on: dtypes, trees, a state that keeps its form, no NaN, clear errors."""

import functools
import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import export
from reference import MAKERS

import lecture_opt as lo
from lecture_opt.optimizers import elementwise

each = pytest.mark.parametrize("make", MAKERS, ids=lambda f: f.__name__)
DTYPES = [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64]

TREES = {
    "scalar": jnp.float32(1.0),
    "empty": {},
    "many": {
        "dict": {"w": jnp.ones((2, 3)), "b": jnp.ones(3)},
        "list": [jnp.ones(2), {"a": (jnp.ones(1),)}],
        "none": {"w": jnp.ones(2), "frozen": None},
        "empty": [],
        "zero size": {"w": jnp.ones((0, 3))},
        "mixed": {"h": jnp.ones(2, jnp.bfloat16), "f": jnp.ones(2)},
    },
}


def run(optimizer, params, grads, steps=3):
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(grads, state, params)
    return updates, state


@each
@pytest.mark.parametrize("tree", TREES)
def test_updates_have_the_form_of_the_grads_and_the_state_keeps_its_own(make, tree):
    params = TREES[tree]
    optimizer = make()
    state = optimizer.init(params)
    updates, after = optimizer.update(params, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    weak = [x.weak_type for x in jax.tree.leaves((state, after))]
    assert not any(weak)
    assert after.count.dtype == jnp.int32
    assert after.count == 1
    scan = functools.partial(jax.lax.scan, lambda s, _: (optimizer.update(params, s)[1], None))
    chex.assert_trees_all_equal_shapes_and_dtypes(
        jax.eval_shape(functools.partial(scan, length=2), state)[0], state
    )


@each
def test_each_of_many_equal_leaves_steps_as_alone(make):
    grads = [jnp.full(2, i - 20.0) for i in range(40)]
    together, state = run(make(0.1), grads, grads)
    as_rows, _ = run(make(0.1), jnp.stack(grads), jnp.stack(grads))
    np.testing.assert_allclose(together, as_rows, rtol=4 * np.finfo(np.float32).eps)
    assert state.count == 3


@each
def test_one_trace_serves_every_step(make):
    optimizer = make()
    step = jax.jit(chex.assert_max_traces(lambda g, s: optimizer.update(g, s), n=1))
    state = optimizer.init(jnp.ones(3))
    for _ in range(5):
        _, state = step(jnp.ones(3), state)
    chex.clear_trace_counter()


@each
def test_zero_gradients_give_zero_updates(x64, make):
    zeros = [jnp.zeros(3, dtype) for dtype in DTYPES]
    updates, state = run(make(), zeros, zeros)
    chex.assert_trees_all_equal(updates, zeros)
    chex.assert_trees_all_equal_dtypes(updates, zeros)
    chex.assert_tree_all_finite(state)


@pytest.mark.parametrize("make", [lo.adagrad, lo.rmsprop, lo.adam], ids=lambda f: f.__name__)
def test_zero_gradients_without_epsilon_give_zero_updates(make):
    zero = jnp.zeros(3)
    updates, _ = run(make(eps=0.0), zero, zero)
    np.testing.assert_array_equal(updates, zero)


@each
def test_sixteen_bit_parameters_step_as_float32_ones_rounded(make):
    half = [jnp.asarray([1e-3, 0.5, -300.0], dtype) for dtype in (jnp.float16, jnp.bfloat16)]
    full = [g.astype(jnp.float32) for g in half]
    updates, _ = run(make(0.01), half + full, half + full, steps=20)
    for narrow, wide in zip(updates[:2], updates[2:], strict=True):
        np.testing.assert_array_equal(narrow, wide.astype(narrow.dtype))


@each
def test_a_nan_stays_a_nan_and_in_its_place(make):
    grads = {"bad": jnp.array([jnp.nan, 1.0]), "good": jnp.ones(2)}
    updates, _ = run(make(), grads, grads)
    assert jnp.isnan(updates["bad"][0])
    chex.assert_tree_all_finite((updates["bad"][1], updates["good"]))


@each
def test_the_count_saturates(make):
    optimizer = make()
    state = optimizer.init(jnp.ones(2))
    last = state._replace(count=jnp.int32(2**31 - 1))
    updates, after = optimizer.update(jnp.ones(2), last)
    assert after.count == 2**31 - 1
    chex.assert_tree_all_finite((updates, after))


@each
def test_a_gradient_of_none_leaves_its_parameter_alone(make):
    params = {"w": jnp.ones(2), "frozen": jnp.ones(2)}
    optimizer = make()
    state = optimizer.init(params)
    updates, after = optimizer.update({"w": jnp.ones(2), "frozen": None}, state, params)
    assert updates["frozen"] is None
    chex.assert_trees_all_equal_structs(after, state)


@each
def test_a_vmap_over_learning_rates_is_a_loop_over_them(make):
    rates, g = jnp.array([0.1, 0.01]), jnp.array([1.0, -2.0])
    together = jax.jit(jax.vmap(lambda rate: run(make(rate), g, g)[0]))(rates)
    alone = np.stack([run(make(float(rate)), g, g)[0] for rate in rates])
    np.testing.assert_allclose(together, alone, rtol=4 * np.finfo(np.float32).eps)


@each
def test_jit_changes_nothing(make):
    g = jnp.linspace(-1.0, 1.0, 7)
    eager, _ = run(make(), g, g)
    compiled, _ = jax.jit(lambda: run(make(), g, g))()
    np.testing.assert_allclose(eager, compiled, rtol=4 * np.finfo(np.float32).eps)


@each
@pytest.mark.parametrize(
    "rate", [0.1, 1, np.float32(0.1), lambda count: 0.1, lambda count: jnp.float32(0.1)]
)
def test_without_jit_nothing_changes(make, rate):
    """Where a program is looked into by `jax.disable_jit`, numbers are those of Python."""
    g = {"f": jnp.linspace(-1.0, 1.0, 7), "h": jnp.ones(2, jnp.bfloat16)}
    compiled, _ = run(make(rate), g, g)
    with jax.disable_jit(), jax.debug_nans(True):
        eager, _ = run(make(rate), g, g)
    chex.assert_trees_all_equal_shapes_and_dtypes(eager, compiled)
    np.testing.assert_allclose(eager["f"], compiled["f"], rtol=1e-5)


@each
def test_the_derivative_of_an_update_is_finite_and_right(x64, make):
    @jax.jit
    @jax.value_and_grad
    def last(g):
        return jnp.sum(run(make(0.1), g, g)[0])

    assert jnp.all(jnp.isfinite(last(jnp.array([0.0, 0.5]))[1]))
    g, step = jnp.array([1.0, 0.5]), jnp.array([1e-6, 0.0])
    numeric = (last(g + step)[0] - last(g - step)[0]) / 2e-6
    np.testing.assert_allclose(last(g)[1][0], numeric, rtol=1e-5, atol=1e-9)


@each
def test_extra_arguments_are_accepted(make):
    optimizer = make()
    assert isinstance(optimizer, optax.GradientTransformationExtraArgs)
    g = jnp.ones(2)
    optimizer.update(g, optimizer.init(g), params=g, value=1.0)


@each
@pytest.mark.parametrize("platform", ["cpu", "cuda", "rocm", "tpu"])
def test_a_step_lowers_for(make, platform):
    optimizer, g = make(), jnp.ones((4, 2))
    export.export(jax.jit(optimizer.update), platforms=[platform])(g, optimizer.init(g))


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((lo.sgd, -1.0), ValueError, r"sgd: learning_rate=-1.0 is outside \[0, inf\)"),
        ((lo.sgd, -0.1), ValueError, r"sgd: learning_rate=-0.1 is outside \[0, inf\)$"),
        ((lo.sgd, None), TypeError, "sgd: learning_rate must be a real scalar; got None"),
        ((lo.sgd, float("nan")), ValueError, "learning_rate=nan is outside"),
        ((lo.adam, "0.1"), TypeError, "adam: learning_rate must be a real scalar; got '0.1'"),
        ((lo.adam, jnp.ones(2)), TypeError, r"got an array of shape \(2,\)"),
        ((lo.adam, 1j), TypeError, "learning_rate must be a real scalar"),
        ((lo.momentum, 0.1, 1.0), ValueError, r"momentum=1.0 is outside \[0, 1\)"),
        ((lo.nesterov, 0.1, -0.1), ValueError, "nesterov: momentum=-0.1"),
        ((lo.adagrad, 0.1, -1.0), ValueError, "adagrad: eps=-1.0"),
        ((lo.rmsprop, 0.1, 1.5), ValueError, "rmsprop: decay=1.5"),
        ((lo.rmsprop, 0.1, 0.9, -1.0), ValueError, "rmsprop: eps=-1.0"),
        ((lo.adam, 0.1, 1.0), ValueError, "adam: b1=1.0"),
        ((lo.adam, 0.1, 0.9, 1 - 1e-9), ValueError, r"b2=.* \(it is 1.0 in float32\)"),
        ((lo.adam, 0.1, 0.9, 0.99, -1e-8), ValueError, "adam: eps=-1e-08"),
        ((lo.adam, 0.1, 0.9, 0.99, 1e-8, 1.1), ValueError, r"b1_decay=1.1 is outside \[0, 1\]"),
    ],
)
def test_a_wrong_hyperparameter_is_named(arguments, error, says):
    make, *values = arguments
    with pytest.raises(error, match=says):
        make(*values)


def test_a_wrong_momentum_of_lookahead_is_named():
    with pytest.raises(ValueError, match="lookahead: momentum=2"):
        lo.lookahead(jnp.ones(1), lo.momentum().init(jnp.ones(1)), 2.0)


@each
def test_a_schedule_that_gives_no_scalar_is_told(make):
    g = jnp.ones(2)
    for wrong, says in ((jnp.ones(2), r"an array of shape \(2,\)"), (None, "None")):
        optimizer = make(lambda count, wrong=wrong: wrong)
        with pytest.raises(TypeError, match=f"the learning_rate's schedule gives {says}"):
            optimizer.update(g, optimizer.init(g))


def test_lookahead_wants_the_state_of_momentum_for_these_params():
    with pytest.raises(TypeError, match="lookahead: state is a NesterovState; wanted a Moment"):
        lo.lookahead(jnp.ones(1), lo.nesterov().init(jnp.ones(1)))
    with pytest.raises(ValueError, match=r"(?s)lookahead: params and state.*'v'.*'w'"):
        lo.lookahead({"v": jnp.ones(1)}, lo.momentum().init({"w": jnp.ones(1)}))


@each
def test_a_state_that_is_none_of_its_own_is_named(make):
    """What comes of update(params, grads), of forgetting to unpack, and of another optimizer."""
    optimizer, g = make(), {"w": jnp.ones(2)}
    state = optimizer.init(g)
    name = type(state).__name__
    other = optax.sgd(0.1, momentum=0.9).init(g)
    for wrong, given in (
        (g, "of type dict"),
        (None, "of type NoneType"),
        ((g, state), r"the pair \(updates, state\)"),
        (other, f"of type {type(other).__name__}"),
    ):
        message = rf"{make.__name__}.update: state is {given}; wanted the {name}"
        with pytest.raises(TypeError, match=message):
            optimizer.update(g, wrong)


@each
def test_numpy_gradients_are_taken_under_jit(make):
    optimizer, g = make(), np.full(2, 0.5, np.float32)
    state = optimizer.init(g)
    inside, _ = jax.jit(lambda state: optimizer.update(g, state))(state)
    outside, _ = optimizer.update(g, state)
    np.testing.assert_allclose(inside, outside, rtol=4 * np.finfo(np.float32).eps)


@each
def test_params_that_are_no_arrays_are_named(make):
    with pytest.raises(TypeError, match=r"init: params\['name'\] is 'x'"):
        make().init({"name": "x", "w": jnp.ones(1)})


def test_grads_of_another_tree_show_both():
    state = lo.adam().init({"w": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"(?s)adam.update: grads and state.*'v'.*'w'"):
        lo.adam().update({"v": jnp.ones(2)}, state)
    with pytest.raises(ValueError, match=r"(?s)adam.update: grads and state.*\(\*\).*'w'"):
        lo.adam().update(jnp.ones(2), state)
    nested = lo.adam().init({"a": {"b": jnp.ones(2), "c": jnp.ones(2)}})
    with pytest.raises(ValueError, match=r"(?s)adam.update: grads and state.*{'a': \*}.*'c'"):
        lo.adam().update({"a": jnp.ones(2)}, nested)


def test_grads_of_another_shape_are_named_with_both():
    params = {"a": jnp.ones(2), "b": jnp.ones(3), "c": None}
    state = lo.momentum().init(params)
    grads = {"a": jnp.ones(2), "b": jnp.ones((3, 1)), "c": None}
    with pytest.raises(ValueError, match=r"grads\['b'\] has shape \(3, 1\) and its state \(3,\)"):
        lo.momentum().update(grads, state)


def test_integer_grads_are_named():
    with pytest.raises(TypeError, match=r"sgd.update: grads\['w'\] has dtype int32"):
        lo.sgd().update({"w": jnp.ones(2, jnp.int32)}, lo.sgd().init({"w": jnp.ones(2)}))


def test_integer_params_may_go_without_a_gradient():
    params = {"w": jnp.ones(2), "steps": jnp.arange(3)}
    state = lo.adam().init(params)
    updates, _ = lo.adam().update({"w": jnp.ones(2), "steps": None}, state)
    assert updates["steps"] is None


def test_making_an_optimizer_starts_no_device():
    """So that `jax.distributed.initialize` may come after it, in jax 0.6 too."""
    script = (
        "import lecture_opt as lo, jax._src.xla_bridge as bridge\n"
        "for make in (lo.sgd, lo.momentum, lo.nesterov, lo.adagrad, lo.rmsprop, lo.adam): make()\n"
        "assert not bridge.backends_are_initialized()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_more_leaves_alike_than_go_through_a_rule_at_once():
    params = {f"{i:03}": jnp.float32(i + 1) for i in range(2 * elementwise.BLOCK + 3)}
    optimizer = lo.momentum()
    updates, state = run(optimizer, params, params, steps=2)
    for name, p in params.items():
        alone, after = run(optimizer, p, p, steps=2)
        assert updates[name] == alone
        assert state.velocity[name] == after.velocity


@each
def test_outside_jit_a_schedule_is_asked_at_every_step(make):
    """Its value is an argument of the compiled step, so another schedule compiles nothing."""
    rate, g = {"now": 0.1}, jnp.ones(2)
    optimizer = make(lambda count: rate["now"] if count < 5 else None)
    state = optimizer.init(g)
    _, state = optimizer.update(g, state)
    compiled = elementwise._step._cache_size()
    before, _ = optimizer.update(g, state)
    rate["now"] = 0.0
    after, _ = optimizer.update(g, state)
    others = [make(lambda count, rate=rate: rate).update(g, state)[0] for rate in (0.1, 0.0)]
    unmoved, _ = make(0.0).update(g, state)
    np.testing.assert_array_equal(after, unmoved)
    np.testing.assert_array_equal(others, [before, after])
    assert elementwise._step._cache_size() == compiled


@each
def test_leaves_step_in_their_own_width_under_x64(x64, make):
    """A step's scalars, which 64 bits hold there, make no array of 32 bits wider."""
    g = jnp.ones(7, jnp.float32)
    optimizer = make()
    program = jax.make_jaxpr(optimizer.update)(g, optimizer.init(g))
    assert "f64[7]" not in str(program)
    assert "f32[7]" in str(program)


@pytest.mark.parametrize(
    ("constructor", "name", "meant"),
    [
        (lo.sgd, "lr", "learning_rate"),
        (lo.adagrad, "epsilon", "eps"),
        (lo.rmsprop, "rho", "decay"),
        (lo.adam, "e", "eps"),
        (lo.adam, "l", "b1_decay"),
        (lo.adam, "beta1", "b1"),
        (lo.momentum, "momentun", "momentum"),
        (lo.rows.adam, "lr", "learning_rate"),
    ],
)
def test_another_library_s_name_of_an_argument_is_answered_with_this_one(constructor, name, meant):
    with pytest.raises(TypeError, match=rf"{name} is not an argument; did you mean {meant}\?"):
        constructor(**{name: 0.5})


def test_an_unknown_argument_is_answered_with_all():
    with pytest.raises(TypeError, match=r"nonsense is not an argument; there are learning_rate$"):
        lo.sgd(nonsense=1)
