"""A run inside compare is the user's own loop run outside of it; the traps are told in words."""

import contextlib
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from user_loops import DATA, LOOPS, hand_loop, linen_loop

from lecture_opt import compare, specs
from lecture_opt.compare import schedules
from lecture_opt.compare.results.statistics import estimates
from lecture_opt.compare.runs import data, engine, entrants, examine, hosted, pure
from lecture_opt.compare.runs.drivers import ONE_BY_ONE, TOGETHER, Driver
from lecture_opt.environment import lenient
from lecture_opt.problems import loop as loops

RATES, SEEDS = [0.01, 0.1, 0.01], [3, 3, 1_000_007]


def clipped(learning_rate):
    """Without Adam, which makes a bias before a batch norm follow its rounding."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(learning_rate, momentum=0.9))


def spec_of(constructor, **options):
    return specs.OptimizerSpec("mine:mine", "mine:mine", constructor=constructor, **options)


def outside(loop, optimizer, seed):
    """The plain loop: losses where the step gives them, and the last validation metric."""
    axis = (lambda f: f) if loop.axis_name is None else in_axis(loop.axis_name)
    with lenient():
        key = loops.start_key(seed)
        state = loop.start(optimizer, key)
        for number, batch in zip(range(loop.steps), loops.batches(loop, seed), strict=False):
            keys = (loops.step_key(key, number),) if loops.takes_key(loop.step) else ()
            result = axis(loop.step)(state, batch, *keys)
            if loop.name == "nnx":
                continue
            state = result
            if loop.name == "linen":
                state = result[0]
            if loop.name == "equinox":
                state = result[1]
        keys = (loops.metric_key("validation"),) if loops.takes_key(loop.metric) else ()
        value = loop.metric(state, loop.parts(seed)[1], *keys)
    return value["loss"] if isinstance(value, dict) else value


def in_axis(name):
    """Functions of a state with functions in it inside a named axis of size one."""

    def around(function):
        def call(state, *args):
            arrays = state._replace(tx=None)

            def one(_):
                return function(arrays._replace(tx=state.tx), *args)._replace(tx=None)

            out = jax.vmap(one, axis_name=name)(jnp.zeros(1))
            return jax.tree.map(lambda leaf: leaf[0], out)._replace(tx=state.tx)

        return call

    return around


def train(
    loop, constructor=clipped, driver=None, rates=RATES, seeds=SEEDS, settings=None, **options
):
    options = {"test_at": "last"} | options
    given = settings or [{"learning_rate": 0.1}]
    entrant = entrants.look(loop, examine.examine(loop), spec_of(constructor), given)
    if driver is not None:
        entrant = entrant._replace(driver=driver)
    held = data.prepare(loop)
    if driver is not None and driver.host:
        given = {"learning_rate": np.asarray(rates)}
        return hosted.train(entrant, held, given, seeds, **options)
    program = engine.build(entrant, held, runs=1 if driver == ONE_BY_ONE else 3)
    scalars = {} if entrant.settings else {"learning_rate": np.asarray(rates)}
    return engine.train(program, entrant, held, scalars, seeds, **options)


@functools.cache
def trained(name):
    """A loop as it trains where nothing else is asked."""
    return train(LOOPS[name]())


@pytest.mark.parametrize("name", LOOPS)
def test_a_run_is_the_users_own_loop(name):
    loop, found = LOOPS[name](), trained(name)
    assert not found.diverged.any()
    for run in (1, 2):
        want = outside(loop, clipped(RATES[run]), SEEDS[run])
        # 6 steps of a few hundred float32 roundings each, with Adam's division between.
        np.testing.assert_allclose(found.validation[run, -1], want, rtol=2e-4)


@pytest.mark.parametrize("driver", [Driver(True, False), ONE_BY_ONE, Driver(False, False, "why")])
@pytest.mark.parametrize("name", ["linen", "nnx", "stream"])
def test_each_driver_gives_the_same_numbers(name, driver):
    if name == "stream" and driver.host:
        pytest.skip("a named axis is around traced steps")
    one, two = train(LOOPS[name](), driver=driver), trained(name)
    np.testing.assert_allclose(one.losses, two.losses, rtol=2e-4)
    np.testing.assert_allclose(one.validation, two.validation, rtol=2e-4)
    np.testing.assert_allclose(one.test, two.test, rtol=2e-4)


@pytest.mark.parametrize("driver", [None, ONE_BY_ONE, Driver(False, False, "why")])
def test_each_seed_trains_on_its_own_split_of_a_pool(driver, monkeypatch):
    monkeypatch.setattr(data, "PIECE", 11)  # a validation part of 19 in two pieces
    loop = hand_loop(DATA)
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *DATA)
    loop = dataclasses.replace(loop, axis_name=None, step=without_axis(loop.step))
    loop = dataclasses.replace(loop, data=compare.Pool(joined))
    found = train(loop, driver=driver)
    for run in (1, 2):
        want = outside(loop, clipped(RATES[run]), SEEDS[run])
        np.testing.assert_allclose(found.validation[run, -1], want, rtol=2e-4)


def test_steps_run_by_run_are_the_jitted_loop_bit_for_bit():
    """The same program of a step gives the same bits."""
    loop = hand_loop((DATA[0], *DATA[1:]))
    loop = dataclasses.replace(loop, axis_name=None, step=without_axis(loop.step))
    found = train(loop, optax.sgd, ONE_BY_ONE, rates=[0.125], seeds=[3])

    @jax.jit
    def step(state, batch, key):
        state = loop.step(loops_state(loop, state), batch, key)
        return state._replace(tx=None)

    with lenient():
        key = loops.start_key(3)
        state = loop.start(optax.sgd(0.125), key)._replace(tx=None)
        for number, batch in zip(range(loop.steps), loops.batches(loop, 3), strict=False):
            state = step(state, batch, loops.step_key(key, number))
        want = jax.jit(lambda s, p: loop.metric(s._replace(tx=None), p, key))(state, loop.data[1])
    np.testing.assert_array_equal(found.validation[0, -1], want)


def loops_state(loop, state):
    return state._replace(tx=optax.sgd(0.125))


def without_axis(step):
    def inside(state, batch, key):
        out = jax.vmap(lambda _: step(state, batch, key)._replace(tx=None), axis_name="batch")(
            jnp.zeros(1)
        )
        return jax.tree.map(lambda leaf: leaf[0], out)._replace(tx=state.tx)

    return inside


def test_python_numbers_that_a_step_changes_move():
    """A TrainState's `step` starts as the int 0; keys are folded from it."""
    loop = linen_loop()
    seen = dataclasses.replace(loop, metric=lambda state, part: state.step * 1.0)
    np.testing.assert_array_equal(train(seen).validation, [[2.0, 4.0, 6.0]] * 3)


def cosine(learning_rate):
    return optax.adam(optax.warmup_cosine_decay_schedule(0.0, learning_rate, 2, 6))


def asks(learning_rate, weight_decay=0.0):
    return optax.adamw(learning_rate) if weight_decay > 0 else optax.adam(learning_rate)


@pytest.mark.parametrize("constructor", [cosine, asks])
def test_constructors_that_take_no_tracer_are_built_for_each_setting(constructor):
    loop = LOOPS["hand"]()
    names = ("learning_rate", "weight_decay") if constructor is asks else ("learning_rate",)
    values = [(0.01, 0.0), (0.1, 0.1), (0.3, 0.0)]
    settings = [dict(zip(names, value, strict=False)) for value in values]
    found = train(loop, constructor, settings=settings, seeds=[3, 3, 3])
    for run, setting in enumerate(settings):
        want = outside(loop, constructor(**setting), 3)
        np.testing.assert_allclose(found.validation[run, -1], want, rtol=2e-4)


def test_the_two_ways_of_constructing_agree():
    loop = LOOPS["equinox"]()
    settings = [{"learning_rate": rate} for rate in (0.01, 0.1, 0.3)]

    def asking(learning_rate):
        if learning_rate < 0:
            raise ValueError
        return clipped(learning_rate)

    rates = [setting["learning_rate"] for setting in settings]
    one = train(loop, asking, settings=settings, seeds=[3, 3, 3])
    two = train(loop, clipped, rates=rates, seeds=[3, 3, 3])
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-4)


GLOBAL = optax.adam(0.1)


def test_a_step_that_closes_over_its_own_optimizer_is_refused_in_words():
    loop = hand_loop((DATA[0], *DATA[1:]))

    @jax.jit
    def step(params, opt_state, batch):
        grads = jax.grad(lambda p: (batch[0] @ p["w"]).mean())(params)
        updates, opt_state = GLOBAL.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    def start(tx, key):
        params = {"w": jnp.ones((6, 2))}
        tx.init(params)
        return params, GLOBAL.init(params)

    bad = compare.Loop(
        "closed", start, lambda s, b: step(*s, b), lambda s, p: s[0]["w"].mean(), loop.data
    )
    with pytest.raises(ValueError, match="carry the optimizer in the state"):
        examine.examine(bad)


def test_what_a_step_returns_without_the_state_is_refused_in_words():
    loop = dataclasses.replace(LOOPS["equinox"](), step=lambda state, batch: jnp.zeros(()))
    with pytest.raises(ValueError, match="no element with the state's tree"):
        examine.examine(loop)


def test_a_short_batch_of_a_stream_is_left_out():
    shapes = {x.shape for (x, _), _ in zip(loops.batches(hand_loop(), 0), range(8), strict=False)}
    assert shapes == {(24, 6)}


def test_keys_and_batches_are_the_same_for_every_optimizer():
    one, two = train(LOOPS["hand"](), optax.sgd), trained("hand")
    np.testing.assert_array_equal(one.untrained, two.untrained)


def test_metrics_over_pieces_are_those_over_the_whole(monkeypatch):
    loop, whole = LOOPS["hand"](), trained("hand")
    monkeypatch.setattr(data, "PIECE", 5)
    np.testing.assert_allclose(train(loop).validation, whole.validation, rtol=1e-5)
    batches = [jax.tree.map(lambda leaf, i=i: leaf[i : i + 3], DATA[1]) for i in range(0, 16, 3)]
    listed = dataclasses.replace(loop, data=(DATA[0], batches, DATA[2]))
    np.testing.assert_allclose(train(listed).validation, whole.validation, rtol=1e-5)


def test_a_host_metric_sees_concrete_states_and_whole_parts():
    loop = LOOPS["hand"]()

    def metric(state, part, key):
        assert isinstance(part[0], np.ndarray)
        logits = np.asarray(part[0]) @ np.asarray(state.params["w"]) + np.asarray(state.params["b"])
        return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), part[1]])

    with_loss = dataclasses.replace(
        loop, step=lambda s, b, key: (loop.step(s, b, key), jnp.zeros(()))
    )
    hosted_metric = dataclasses.replace(with_loss, metric=metric, host_metric=True)
    np.testing.assert_allclose(train(hosted_metric).validation, train(loop).validation, rtol=1e-4)


def test_a_loop_that_cant_be_traced_runs_from_the_host():
    loop = LOOPS["hand"]()

    def start(tx, key):
        return loop.start(tx, key)._replace(epoch=float(jnp.zeros(()) + key.size))

    def step(state, batch, key):
        assert np.asarray(batch[0]).sum() < np.inf
        loss, grads = jax.value_and_grad(lambda p: crossed(p, batch))(state.params)
        float(loss)
        updates, opt_state = state.tx.update(grads, state.opt_state, state.params)
        return state._replace(
            params=optax.apply_updates(state.params, updates), opt_state=opt_state
        ), loss

    def crossed(params, batch):
        return ((batch[0] @ params["w"]) ** 2).mean()

    host = dataclasses.replace(loop, start=loop.start, step=step, axis_name=None)
    assert start is not None
    protocol = compare.Protocol(
        steps=4, evaluations=2, batch_size=16, draws=2, seeds=2, tuning_seed_count=1,
        baseline="mine:mine",
    )  # fmt: skip
    with contextlib.suppress(UserWarning):
        found = compare.run([host], [spec_of(optax.sgd)], protocol)
    assert found.tasks[0].cells[0].diverged.reporting == 0
    assert examine.examine(host).driver.host
    assert examine.examine(loop).driver == TOGETHER


def test_a_convolution_goes_step_by_step_on_a_cpu():
    def loss(kernel, part):
        image = part.reshape(-1, 4, 4, 1)
        return (jax.lax.conv(image.transpose(0, 3, 1, 2), kernel, (1, 1), "SAME") ** 2).mean()

    x = np.ones((64, 16), np.float32)
    task = compare.Task("conv", lambda key: jnp.ones((1, 1, 3, 3)), loss, loss, (x, x, x))
    examined = examine.examine(compare.as_loop(task))
    assert examined.driver == (ONE_BY_ONE if jax.default_backend() == "cpu" else TOGETHER)


def test_a_constructor_that_asks_for_steps_gets_the_loops():
    seen = []

    def mine(learning_rate, steps):
        seen.append(steps)
        return optax.sgd(learning_rate)

    train(LOOPS["hand"](), mine)
    assert set(seen) == {6}


def test_the_average_is_what_schedule_free_is_judged_by():
    x = np.linspace(-1, 1, 64, dtype=np.float32)

    def loss(w, part):
        return ((w - part) ** 2).mean()

    task = compare.Task("t", lambda key: np.float32(2.0), loss, loss, (x, x, x), steps=4)

    def mine(learning_rate):
        return optax.contrib.schedule_free_sgd(learning_rate)

    loop = dataclasses.replace(compare.as_loop(task), steps=4, evaluations=1)
    found = train(loop, mine, rates=[0.1] * 3, seeds=[1, 1, 1])
    with lenient():
        optimizer, w = mine(0.1), jnp.float32(2.0)
        state = optimizer.init(w)
        for batch, _ in zip(loops.batches(loop, 1), range(4), strict=False):
            updates, state = optimizer.update(jax.grad(loss)(w, batch), state, w)
            w = optax.apply_updates(w, updates)
        averaged = optax.contrib.schedule_free_eval_params(state, w)
    np.testing.assert_allclose(found.validation[0, -1], loss(averaged, x), rtol=1e-5)
    assert abs(loss(averaged, x) - loss(w, x)) > 1e-3


class Tail:
    """An optimizer as a class, judged at half of what it trains."""

    def __init__(self, learning_rate):
        self.inner = optax.sgd(learning_rate)

    def init(self, params):
        return self.inner.init(params)

    def update(self, grads, state, params=None):
        return self.inner.update(grads, state, params)

    def eval_params(self, state, params):
        return jax.tree.map(lambda p: 0.5 * p, params)


def asking_tail(learning_rate):
    return Tail(learning_rate if learning_rate > 0 else 0.0)


@pytest.mark.parametrize("constructor", [Tail, asking_tail], ids=["traced", "by setting"])
def test_the_eval_params_of_an_optimizer_are_what_it_is_judged_by(constructor):
    x = np.linspace(-1, 1, 64, dtype=np.float32)

    def loss(w, part):
        return ((w - part) ** 2).mean()

    task = compare.Task("t", lambda key: np.float32(2.0), loss, lambda w, part: w, (x, x, x))
    loop = dataclasses.replace(compare.as_loop(task), steps=4, evaluations=1)
    settings = [{"learning_rate": rate} for rate in (0.1, 0.3, 0.2)]
    rates = [setting["learning_rate"] for setting in settings]
    found = train(loop, constructor, rates=rates, seeds=[1] * 3, settings=settings)
    for run, rate in enumerate(rates):
        w = jnp.float32(2.0)
        for batch, _ in zip(loops.batches(loop, 1), range(4), strict=False):
            w = w - rate * jax.grad(loss)(w, batch)
        np.testing.assert_allclose(found.validation[run, -1], 0.5 * w, rtol=1e-5)


def test_schedule_free_keeps_its_rate_under_a_schedule():
    loop, shape = LOOPS["equinox"](), schedules.parse("warmup_cosine(0.1)")
    examined, settings = examine.examine(loop), [{"learning_rate": 0.1}]
    for name, want in (("schedule_free_adamw", None), ("muon", shape)):
        spec = specs.parse(f"optax:contrib.{name}")
        assert entrants.look(loop, examined, spec, settings, shape).schedule == want


def test_the_loss_of_a_task_may_take_a_key():
    x = np.linspace(-1, 1, 64, dtype=np.float32)

    def loss(w, part, key):
        return ((w - part) ** 2).mean() + 0 * jax.random.uniform(key)

    task = compare.Task("t", lambda key: np.float32(2.0), loss, loss, (x, x, x))
    loop = dataclasses.replace(compare.as_loop(task), steps=4, evaluations=1)
    assert np.isfinite(train(loop).losses).all()


def square(name="square", **counts):
    """A number that learns the mean of its batches."""
    x = np.linspace(-1, 1, 64, dtype=np.float32)

    def loss(w, part):
        return ((w - part) ** 2).mean()

    return compare.Task(name, lambda key: np.float32(2.0), loss, loss, (x, x, x), **counts)


@pytest.mark.parametrize("driver", [TOGETHER, ONE_BY_ONE, Driver(False, False, "why")])
def test_evaluations_need_not_divide_the_steps(driver):
    """Seven steps, evaluated after 2, 4 and 7: each curve passes through those of other loops."""
    loop = compare.as_loop(square(steps=7, evaluations=3))
    np.testing.assert_array_equal(loops.evaluated_steps(loop), [2, 4, 7])
    found = train(loop, driver=driver)
    each, most = (train(dataclasses.replace(loop, evaluations=n), driver=driver) for n in (7, 40))
    np.testing.assert_allclose(found.validation, each.validation[:, [1, 3, 6]], rtol=1e-5)
    np.testing.assert_allclose(found.losses[:, 2], each.losses[:, 4:].mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(most.losses, each.losses)  # at most once per step


def test_each_task_says_its_steps_and_batches_and_the_protocol_may_override():
    tasks = [square("a", steps=7, evaluations=3, batch_size=5), square("b", steps=4, batch_size=16)]
    small = compare.Protocol(draws=2, seeds=2, tuning_seed_count=1, baseline="mine:mine")
    own = compare.run(tasks, [spec_of(optax.sgd)], small).tasks
    assert [list(one.steps) for one in own] == [[2, 4, 7], [1, 2, 3, 4]]
    assert [one.batch_size for one in own] == [5, 16]
    given = dataclasses.replace(small, steps=9, evaluations=2, batch_size=8)
    for one in compare.run(tasks, [spec_of(optax.sgd)], given).tasks:
        assert (list(one.steps), one.batch_size) == ([4, 9], 8)
        assert one.cells[0].loss.runs.shape == (2, 2)


@pytest.mark.parametrize("driver", [TOGETHER, Driver(False, False, "why")])
@pytest.mark.parametrize("spoiled", [True, False])
def test_a_parameter_that_is_lost_is_seen_where_loss_and_metric_are_not(driver, spoiled):
    """An infinity that was there from the start, as in a best loss so far, is of no matter."""

    def spoiling(learning_rate):
        def update(grads, state, params=None):
            lost = jnp.where(spoiled, jnp.nan, 0.0)
            return {"w": -learning_rate * grads["w"], "dead": grads["dead"] + lost}, state

        return optax.GradientTransformation(lambda params: jnp.float32(-jnp.inf), update)

    task = square(steps=4, evaluations=2)
    loop = compare.as_loop(
        dataclasses.replace(
            task,
            init=lambda key: {"w": np.float32(2.0), "dead": np.float32(0.0)},
            loss=lambda p, part: task.loss(p["w"], part),
            metric=lambda p, part: task.loss(p["w"], part),
        )
    )
    assert (train(loop, spoiling, driver).diverged == spoiled).all()


def test_settings_tried_one_by_one_are_one_look_and_the_budget_says_so():
    """All eight are random draws then, and none lies around the best of the others."""

    def asking_rate(learning_rate):
        assert learning_rate > 0
        return optax.sgd(learning_rate)

    protocol = compare.Protocol(
        steps=4, evaluations=1, draws=8, seeds=2, tuning_seed_count=2, baseline="mine:mine"
    )
    assert protocol.refined
    study = compare.run([square()], [spec_of(asking_rate)], protocol)
    (cell,) = study.tasks[0].cells
    want, ends = estimates.best_of(cell.tuning.validation.mean, higher_is_better=False)
    np.testing.assert_allclose(cell.budget.validation.mean, want, rtol=1e-6)
    np.testing.assert_allclose(cell.budget.validation.high, ends[:, 1], rtol=1e-6)


@pytest.mark.parametrize("driver", [TOGETHER, Driver(False, False, "why")])
def test_the_test_part_is_left_alone_where_nobody_asks_for_it(driver):
    loop = compare.as_loop(square(steps=4, evaluations=2))
    tuned, reported = train(loop, driver=driver, test_at=None), train(loop, driver=driver)
    assert np.isnan(tuned.test).all()
    assert np.isnan(tuned.untrained[:, 1]).all()
    assert np.isfinite(reported.test).all()
    assert np.isfinite(reported.untrained).all()
    np.testing.assert_array_equal(tuned.validation, reported.validation)


@pytest.mark.parametrize("driver", [TOGETHER, Driver(False, False, "why")])
def test_where_the_last_evaluation_alone_counts_none_is_taken_before_it(driver):
    loop = compare.as_loop(square(steps=6, evaluations=3))
    whole, last = train(loop, driver=driver), train(loop, driver=driver, curve=False, test_at=None)
    assert np.isnan(last.validation[:, :-1]).all()
    assert np.isnan(last.untrained).all()
    np.testing.assert_array_equal(last.validation[:, -1], whole.validation[:, -1])
    np.testing.assert_array_equal(last.losses, whole.losses)
    np.testing.assert_array_equal(last.diverged, whole.diverged)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64])
def test_many_finite_numbers_are_finite_in_any_dtype(dtype):
    fine = jnp.full(300_000, 0.5, dtype)
    held = (fine, fine.at[7].set(jnp.nan), jnp.arange(3), fine.at[7].set(-jnp.inf))
    np.testing.assert_array_equal(pure.finite(held), [True, False, False])
