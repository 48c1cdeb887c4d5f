"""What loops of every kind do to an engine: each is trained as it is, or refused in words."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental import io_callback
from user_loops import DATA, crossed, hand_loop, nnx_loop

from lecture_opt import compare, specs
from lecture_opt.compare.runs.examine import examine
from lecture_opt.environment import lenient
from lecture_opt.problems import loop as loops

PROTOCOL = compare.Protocol(
    steps=6, evaluations=2, draws=3, seeds=2, tuning_seed_count=2, batch_size=8,
    baseline="mine:mine", rates=specs.Range("log", 0.01, 0.3),
)  # fmt: skip
X = np.linspace(-1, 1, 64, dtype=np.float32)


def spec_of(constructor):
    return specs.OptimizerSpec("mine:mine", "mine:mine", constructor=constructor)


def studied(problem, constructor=optax.sgd, **options):
    protocol = dataclasses.replace(PROTOCOL, **options)
    (task,) = compare.run([problem], [spec_of(constructor)], protocol).tasks
    return task


def square(w, part):
    return ((w - part) ** 2).mean()


TASK = compare.Task("t", lambda key: jax.random.normal(key), square, square, (X, X, X))


def alone(constructor, rate, seed):
    """The test metric of a plain loop."""
    with lenient():
        loop = dataclasses.replace(compare.as_loop(TASK), steps=6, batch_size=8)
        w, optimizer = jax.random.normal(loops.start_key(seed)), constructor(rate)
        state = optimizer.init(w)
        for batch in loops.batches(loop, seed):
            updates, state = optimizer.update(jax.grad(square)(w, batch), state, w)
            w = optax.apply_updates(w, updates)
        return square(w, X)


# ---- typed keys in an optimizer's state ---------------------------------------------------------

KEY = jax.random.key(7)


class Keyed(NamedTuple):
    count: int
    keys: jax.Array


def noisy(rate, init, now, after):
    def update(grads, state, params=None):
        noise = 0.1 * jax.random.normal(now(state), jnp.shape(grads))
        return -rate * (grads + noise), after(state)

    return optax.GradientTransformation(lambda params: init(), update)


def in_state(learning_rate):
    return noisy(
        learning_rate, lambda: KEY, lambda key: jax.random.fold_in(key, 1),
        lambda key: jax.random.fold_in(key, 2),
    )  # fmt: skip


def in_closure(learning_rate):
    return noisy(
        learning_rate, lambda: jnp.zeros((), jnp.int32),
        lambda count: jax.random.fold_in(KEY, count), lambda count: count + 1,
    )  # fmt: skip


def next_of(key):
    return jax.random.fold_in(key, 1)


def several(learning_rate):
    """Keys in an array, beside a Python number that moves."""
    return noisy(
        learning_rate, lambda: Keyed(0, jax.random.split(KEY, 3)), lambda state: state.keys[0],
        lambda state: Keyed(state.count + 1, jax.vmap(next_of)(state.keys)),
    )  # fmt: skip


def by_setting(learning_rate):
    """Built for each setting, with states of different trees."""
    return several(learning_rate) if learning_rate > 0.05 else in_state(learning_rate)


def of_optax(learning_rate):
    return optax.chain(optax.add_noise(0.1, 0.5, KEY), optax.sgd(learning_rate))


@pytest.mark.parametrize(
    ("constructor", "where"),
    [
        *((one, "together") for one in (in_closure, several, by_setting, of_optax)),
        (by_setting, "host"),
    ],
)
def test_typed_keys_in_an_optimizer_are_kept_run_by_run(constructor, where):
    problem = TASK
    if where == "host":
        loop = compare.as_loop(TASK)

        def step(state, batch, key):
            state, loss = loop.step(state, batch, key)
            return state, float(loss)

        problem = dataclasses.replace(loop, step=step)
    task = studied(problem, constructor)
    (cell,) = task.cells
    rate = cell.hyperparameters["learning_rate"]
    want = [alone(constructor, rate, seed) for seed in PROTOCOL.reporting_seeds]
    np.testing.assert_allclose(cell.test.values, want, rtol=1e-4)
    assert bool(task.notes) == (where == "host")


# ---- what can't be traced -----------------------------------------------------------------------


def test_a_metric_in_numpy_is_taken_on_the_host_from_the_whole_part():
    sizes = set()

    def metric(state, part, key):
        sizes.add(len(part))
        return np.mean((np.asarray(state.params) - np.asarray(part)) ** 2)

    loop, big = compare.as_loop(TASK), np.tile(X, 40)
    plain = studied(dataclasses.replace(loop, data=(X, big, big)))
    task = studied(dataclasses.replace(loop, metric=metric, data=(X, big, big)))
    np.testing.assert_allclose(task.cells[0].test.values, plain.cells[0].test.values, rtol=1e-5)
    assert task.notes[0].startswith("t: its metric is taken on the host, as it can't be traced: ")
    assert len(big) in sizes
    assert 1024 not in sizes


def test_a_metric_in_numpy_over_a_list_of_batches_sees_the_batches():
    def metric(state, part, key):
        return float(np.mean((np.asarray(state.params) - np.asarray(part)) ** 2))

    loop = compare.as_loop(TASK)
    task = studied(dataclasses.replace(loop, metric=metric, data=(X, [X[:30], X[30:]], [X])))
    plain = studied(loop)
    np.testing.assert_allclose(task.cells[0].test.values, plain.cells[0].test.values, rtol=1e-5)
    assert "step by step from the host" in task.notes[0]


def test_a_metric_that_asks_for_the_value_of_a_param_is_taken_on_the_host():
    def metric(params, part):
        return jnp.mean((params - part) ** 2) + 0 * float(params)

    def start(key):
        return np.float32(1.0)  # whose value a trace would know

    task = studied(dataclasses.replace(TASK, init=start, metric=metric))
    assert "its metric is taken on the host" in task.notes[0]


@pytest.mark.parametrize("reads", [False, True], ids=["params alone", "the average"])
@pytest.mark.parametrize("tail", [False, True], ids=["schedule-free", "eval_params"])
def test_an_average_that_the_metric_does_not_look_at_is_told(reads, tail):
    def metric(state, part, key):
        params = state.params
        if reads:
            params = compare.eval_params(state.optimizer, state.opt_state, params)
        return jnp.mean((params - part) ** 2)

    class Tail(NamedTuple):
        init: Any
        update: Any

        def eval_params(self, opt_state, params):
            return 0.5 * params

    def constructor(learning_rate):
        if tail:
            return Tail(*optax.sgd(learning_rate))
        return optax.contrib.schedule_free_sgd(learning_rate)

    loop = dataclasses.replace(compare.as_loop(TASK), metric=metric)
    notes = studied(loop, constructor).notes
    assert any("keeps an average" in note for note in notes) == (not reads)


def test_an_object_that_keeps_a_traced_value_is_told_to_be_made_in_start():
    kept = []  # as a guide of numpyro keeps where it began

    def start(key):
        kept.append(jax.random.normal(key))
        return jax.random.normal(key) + jnp.sin(kept[0])

    task = studied(dataclasses.replace(TASK, init=start))
    assert "make it in `start`" in task.failures[0].why


def test_a_metric_that_raises_is_refused_before_any_training():
    loop = dataclasses.replace(compare.as_loop(TASK), metric=lambda s, part, key: part @ X[:3])
    with pytest.raises(ValueError, match="t can't be trained: "):
        examine(loop)


def called(how):
    """Doubles an array on the host, in a way that `vmap` refuses."""

    def double(x):
        return np.float32(2) * np.asarray(x)

    def call(x):
        shape = jax.ShapeDtypeStruct(jnp.shape(x), np.float32)
        if how == "ordered":
            return io_callback(double, shape, x, ordered=True)
        return jax.pure_callback(double, shape, x)

    return call


@pytest.mark.parametrize(
    ("how", "place"), [("ordered", "step"), ("pure", "metric"), ("pure", "optimizer")]
)
def test_callbacks_that_vmap_refuses_go_run_by_run(how, place):
    double, loop, constructor = called(how), compare.as_loop(TASK), optax.sgd
    step = loop.step
    plain = studied(loop)
    if place == "step":
        loop = dataclasses.replace(
            loop, step=lambda state, batch, key: step(state, double(batch) / 2, key)
        )
    elif place == "metric":
        loop = dataclasses.replace(
            loop, metric=lambda state, part, key: double(square(state.params, part)) / 2
        )
    else:

        def constructor(learning_rate):
            def update(grads, state, params=None):
                return -learning_rate * double(grads) / 2, state

            return optax.GradientTransformation(lambda params: (), update)

    task = studied(loop, constructor)
    np.testing.assert_allclose(task.cells[0].test.values, plain.cells[0].test.values, rtol=1e-5)


# ---- optimizers that a step closes over ---------------------------------------------------------

HELD = {}


def start(optimizer, key):
    HELD["tx"] = optimizer
    w = jax.random.normal(key)
    return w, optimizer.init(w)


def step(state, batch):
    loss, grads = jax.value_and_grad(square)(state[0], batch)
    updates, opt_state = HELD["tx"].update(grads, state[1], state[0])
    return (optax.apply_updates(state[0], updates), opt_state), loss


def metric(state, part):
    return square(state[0], part)


def test_a_global_optimizer_that_start_sets_trains_with_each():
    task = studied(compare.Loop("t", start, step, metric, (X, X, X)))
    rate = task.cells[0].hyperparameters["learning_rate"]
    want = [alone(optax.sgd, rate, seed) for seed in PROTOCOL.reporting_seeds]
    np.testing.assert_allclose(task.cells[0].test.values, want, rtol=1e-4)


@pytest.mark.parametrize("traced", [True, False])
def test_a_jitted_step_that_holds_on_to_its_first_optimizer_is_refused(traced):
    jitted = jax.jit(step)

    def outer(state, batch):
        state, loss = jitted(state, batch)
        return state, loss if traced else float(loss)

    loop = compare.Loop("t", start, outer, metric, (X, X, X))
    with pytest.raises(ValueError, match="carry the optimizer in the state"):
        examine(loop)


def test_an_nnx_optimizer_of_its_own_is_refused():
    from flax import nnx

    loop = nnx_loop()

    def own(optimizer, key):
        model, theirs = loop.start(optimizer, key)
        assert theirs is not None
        return model, nnx.Optimizer(model, optax.adam(0.1), wrt=nnx.Param)

    with pytest.raises(ValueError, match="carry the optimizer in the state"):
        examine(dataclasses.replace(loop, start=own))


# ---- modules of nnx -----------------------------------------------------------------------------


def counting(used):
    """An nnx loop whose module counts its calls in a Python attribute."""
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first, self.calls = nnx.Linear(6, 2, rngs=rngs), 0

        def __call__(self, x):
            self.calls += 1
            return self.first(x) * (self.calls if used else 1)

    def start(tx, key):
        model = Net(nnx.Rngs(key))
        return model, nnx.Optimizer(model, tx, wrt=nnx.Param)

    def step(state, batch):
        model, optimizer = state

        def loss_of(model):
            return crossed(model(batch[0]), batch[1])

        loss, grads = nnx.value_and_grad(loss_of)(model)
        optimizer.update(model, grads)
        model.calls += 1
        return loss

    def metric(state, part):
        return crossed(state[0].first(part[0]), part[1])

    return compare.Loop("nnx", start, step, metric, DATA)


def test_a_python_attribute_that_changes_what_a_step_computes_is_refused():
    with pytest.raises(ValueError, match=r"keep what changes in an nnx\.Variable"):
        examine(counting(used=True))


def test_a_python_attribute_of_no_matter_is_none():
    assert studied(counting(used=False)).cells[0].diverged.reporting == 0


def test_variables_that_a_step_adds_are_refused():
    from flax import nnx

    loop = nnx_loop()

    def step(state, batch):
        loss = loop.step(state, batch)
        state[0].seen = nnx.Variable(loss)
        return loss

    with pytest.raises(ValueError, match="take out what a step adds"):
        examine(dataclasses.replace(loop, step=step))


# ---- seeds and streams --------------------------------------------------------------------------


def test_seeds_that_give_the_same_runs_are_said():
    def stream(seed):
        yield X[:8]

    blind = dataclasses.replace(TASK, init=lambda key: np.float32(2.0))
    for problem, said in (
        (TASK, False),
        (blind, False),
        (dataclasses.replace(blind, data=(stream, X, X)), True),
    ):
        notes = studied(problem, seeds=3).notes
        assert [note.startswith("3 seeds gave 1 different runs") for note in notes] == [True] * said


def test_batches_of_many_shapes_are_refused():
    def buckets(seed):
        for size in range(4, 20):
            yield X[:size]

    def epochs(seed):
        while True:  # the last batch of each epoch is short
            yield from np.split(X, [24, 48])

    assert studied(dataclasses.replace(TASK, data=(epochs, X, X))).cells
    failed = studied(dataclasses.replace(TASK, data=(buckets, X, X))).failures
    assert "most batches of seed 0 have another shape than the first" in failed[0].why


def test_a_stream_that_raises_in_its_middle_is_a_failure():
    def stream(seed):
        yield X[:8]
        raise OSError("disk gone")

    (failure,) = studied(dataclasses.replace(TASK, data=(stream, X, X))).failures
    assert failure.why == "OSError: disk gone"


def test_an_update_without_params_is_told_to_an_optimizer_that_needs_them():
    loop = hand_loop((DATA[0], *DATA[1:]))

    def step(state, batch, key):
        grads = jax.grad(lambda p: crossed(batch[0] @ p["w"] + p["b"], batch[1]))(state.params)
        updates, opt_state = state.tx.update(grads, state.opt_state)
        params = optax.apply_updates(state.params, updates)
        return state._replace(params=params, opt_state=opt_state)

    loop = dataclasses.replace(loop, step=step)
    assert studied(loop, optax.sgd).cells
    with pytest.raises(ValueError, match="requires the current value of parameters"):
        studied(loop, lambda learning_rate: optax.adamw(learning_rate))
