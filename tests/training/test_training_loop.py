"""`fit` against a hand-written loop, and its promises about batches, buffers and compiles."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import export

import lecture_opt as lo
from lecture_opt.losses import softmax_cross_entropy
from lecture_opt.training import FitResult, batches, fit, sharding
from lecture_opt.training.programs import kept
from lecture_opt.training.steps import Carry, Static, build
from lecture_opt.training.watches import chunk_length

BATCH_KEY = jax.random.key(11)
SGD = optax.sgd(0.1)
MOMENTUM = optax.sgd(0.1, momentum=0.9)
COUNT_VISITS = optax.sgd(-1.0)


def regression(examples=12, dtype=jnp.float32):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(examples, 3)), dtype)
    return {"x": x, "y": x @ jnp.array([1, -2, 3], dtype) + jnp.asarray(0.5, dtype)}


def squared_error(params, batch):
    return jnp.mean((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2)


def zeros(dtype=jnp.float32):
    return {"w": jnp.zeros(3, dtype), "b": jnp.zeros((), dtype)}


def visits(params, batch):
    """With `COUNT_VISITS`, each parameter counts how often its example was drawn."""
    return jnp.sum(params[batch])


def total(params, batch):
    return jnp.sum(params)


def drawn(key, step, examples, batch_size):
    """The examples of a step, as the documentation tells."""
    epoch, position = divmod(step, examples // batch_size)
    order = jax.random.permutation(jax.random.fold_in(key, epoch), examples)
    return np.asarray(order)[position * batch_size : (position + 1) * batch_size]


def hand_written(loss_fn, params, optimizer, batches):
    state, losses = optimizer.init(params), []

    @jax.jit
    def step(params, state, batch):
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    for batch in batches:
        params, state, loss = step(params, state, batch)
        losses.append(loss)
    return params, state, losses


def assert_close(ours, theirs, steps):
    tolerance = 20 * steps * np.finfo(np.float32).eps  # some 20 roundings a step, not contracted
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance), ours, theirs
    )


def assert_same(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def counting(loss_fn):
    """The loss with a count of its traces, which only a compile adds to."""

    def counted(params, batch):
        counted.traces += 1
        return loss_fn(params, batch)

    counted.traces = 0
    return counted


# ---- the loop -----------------------------------------------------------------------------


@pytest.mark.parametrize(("batch_size", "key"), [(5, BATCH_KEY), (None, None)])
def test_equals_the_hand_written_loop(batch_size, key):
    steps, data = 9, regression()
    batches = [
        data
        if batch_size is None
        else jax.tree.map(lambda leaf, s=s: np.asarray(leaf)[drawn(key, s, 12, batch_size)], data)
        for s in range(steps)
    ]
    params, state, losses = hand_written(squared_error, zeros(), MOMENTUM, batches)
    result = fit(
        squared_error, zeros(), MOMENTUM, data, steps=steps, batch_size=batch_size, key=key
    )
    assert_close((result.params, result.opt_state), (params, state), steps)
    assert_close(list(result.losses), losses, steps)
    assert (result.step, result.reached, result.evaluations) == (steps, False, [])


def test_every_step_equals_the_hand_written_loop():
    data, path = regression(), []
    fit(
        squared_error,
        zeros(),
        SGD,
        data,
        steps=6,
        chunk=1,
        callback=lambda step, params, losses: path.append((step, params, losses)),
    )
    for step, params, losses in path:
        wanted, _, wanted_losses = hand_written(squared_error, zeros(), SGD, [data] * step)
        assert_close(params, wanted, step)
        assert_close(list(losses), wanted_losses[-1:], step)
    assert [step for step, *_ in path] == [1, 2, 3, 4, 5, 6]


def test_divergence_is_in_the_losses_and_raises_nothing():
    result = fit(squared_error, zeros(), optax.sgd(1e6), regression(), steps=30)
    assert np.isfinite(result.losses[0])
    assert not np.isfinite(result.losses[-1])
    assert result.losses.shape == (30,)


def test_data_may_be_left_out():
    result = fit(lambda w, _: jnp.sum((w - 3.0) ** 2), 1.0, SGD, None, steps=2)
    np.testing.assert_allclose(result.params, 3 - 2 * 0.8**2, rtol=4 * np.finfo(np.float32).eps)
    np.testing.assert_allclose(result.losses, [4, 4 * 0.64], rtol=4 * np.finfo(np.float32).eps)


# ---- batches ------------------------------------------------------------------------------


@settings(max_examples=5)
@given(st.integers(1, 9), st.integers(1, 9))
def test_an_epoch_visits_each_example_at_most_once(examples, batch_size):
    batch_size = min(batch_size, examples)
    per_epoch = examples // batch_size
    result = fit(
        visits,
        jnp.zeros(examples),
        COUNT_VISITS,
        jnp.arange(examples),
        steps=3 * per_epoch,
        chunk=per_epoch,
        batch_size=batch_size,
        key=BATCH_KEY,
        eval_fn=lambda counts: counts,
        eval_every=per_epoch,
    )
    counts = np.diff([np.zeros(examples), *(value for _, value in result.evaluations)], axis=0)
    assert counts.shape == (3, examples)
    assert set(counts.ravel()) <= {0, 1}
    np.testing.assert_array_equal(counts.sum(axis=1), per_epoch * batch_size)


def test_each_epoch_has_an_order_of_its_own():
    result = fit(
        visits,
        jnp.zeros(40),
        COUNT_VISITS,
        jnp.arange(40),
        steps=8,
        batch_size=10,
        key=BATCH_KEY,
        eval_fn=lambda counts: counts,
        eval_every=1,
    )
    counts = np.diff([np.zeros(40), *(value for _, value in result.evaluations)], axis=0)
    for step, count in enumerate(counts):
        rows = np.flatnonzero(count)
        np.testing.assert_array_equal(rows, np.sort(drawn(BATCH_KEY, step, 40, 10)))
    assert not np.array_equal(counts[:4], counts[4:])


def test_all_leaves_of_a_batch_are_of_the_same_examples():
    data = (jnp.arange(7), {"twice": 2.0 * jnp.arange(7.0), "row": jnp.ones((7, 2), jnp.bfloat16)})

    def mismatch(params, batch):
        rows, more = batch
        assert (rows.shape, more["row"].shape) == ((3,), (3, 2))
        assert (rows.dtype, more["row"].dtype) == (jnp.int32, jnp.bfloat16)
        return params * 0 + jnp.sum(jnp.abs(more["twice"] - 2.0 * rows.astype(jnp.float32)))

    result = fit(mismatch, 0.0, SGD, data, steps=5, batch_size=3, key=BATCH_KEY)
    np.testing.assert_array_equal(result.losses, 0)


def test_data_in_the_other_order_of_bytes_is_read():
    data = {"x": np.arange(6.0), "y": np.arange(6)}
    swapped = {"x": data["x"].astype(">f8"), "y": data["y"].astype(">i4")}

    def loss_fn(params, batch):
        return jnp.sum(batch["x"]) + jnp.sum(batch["y"]).astype(jnp.float32) + jnp.sum(params)

    ours, wanted = (fit(loss_fn, jnp.ones(2), SGD, d, steps=2).losses for d in (swapped, data))
    np.testing.assert_array_equal(ours, wanted)


def test_a_run_is_its_key():
    run = functools.partial(fit, squared_error, zeros(), SGD, regression(), steps=4, batch_size=5)
    first = run(key=jax.random.key(1))
    assert_same(run(key=jax.random.key(1)), first)
    assert_same(run(key=jax.random.PRNGKey(1)), first)
    assert not np.array_equal(run(key=jax.random.key(2)).losses, first.losses)


@pytest.mark.parametrize("done", [1, 7, 12])
def test_a_continued_run_is_the_whole_run_bit_for_bit(done):
    run = functools.partial(
        fit, squared_error, optimizer=MOMENTUM, data=regression(), batch_size=4, key=BATCH_KEY
    )
    evaluate = {"eval_fn": functools.partial(squared_error, batch=regression()), "eval_every": 6}
    whole = run(params=zeros(), steps=18, **evaluate)
    first = run(params=zeros(), steps=done)
    second = run(
        params=first.params,
        opt_state=first.opt_state,
        start_step=first.step,
        steps=18 - done,
        **evaluate,
    )
    assert_same((second.params, second.opt_state), (whole.params, whole.opt_state))
    assert_same(np.concatenate([first.losses, second.losses]), whole.losses)
    assert second.evaluations == [(s, v) for s, v in whole.evaluations if s > done]
    assert second.step == whole.step == 18


@pytest.mark.parametrize(
    ("optimizer", "leaf"),
    [
        (optax.adam(0.1), "opt_state[0].count"),
        (MOMENTUM, "opt_state[0].trace['b']"),
        (optax.sgd(optax.linear_schedule(0.1, 0.0, 9)), "opt_state[1].count"),
        (optax.chain(optax.clip(1.0), optax.trace(0.9)), "opt_state[1].trace['b']"),
        (lo.sgd(0.1), "opt_state.count"),
    ],
)
def test_a_step_to_start_at_needs_the_state_of_that_step(optimizer, leaf):
    with pytest.raises(ValueError, match="fit: start_step is 3 and opt_state is not") as caught:
        fit(untouched, zeros(), optimizer, regression(), steps=2, start_step=3)
    assert f"the optimizer's {leaf} would start anew" in str(caught.value)


def test_steps_beyond_any_integer_of_the_device():
    run = functools.partial(
        fit, squared_error, zeros(), SGD, regression(), batch_size=5, key=BATCH_KEY, steps=4
    )
    last = 2 * 2**32  # the number of steps after which the count of epochs is 2**32, so 0 again
    assert run(start_step=last + 2**70).losses.shape == (4,)
    assert_same(run(start_step=last).losses, run(start_step=0).losses)
    around = run(start_step=last - 2)
    assert around.step == last + 2
    unit = fit(visits, jnp.zeros(12), COUNT_VISITS, jnp.arange(12), steps=2, start_step=last - 2,
               batch_size=5, key=BATCH_KEY)  # fmt: skip
    rows = jax.random.permutation(jax.random.fold_in(BATCH_KEY, 2**32 - 1), 12)[:10]
    np.testing.assert_array_equal(np.flatnonzero(unit.params), np.sort(rows))


# ---- chunks, callbacks, evaluations -------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "eval_every", "length"),
    [
        (500, None, 100),
        (250, None, 50),
        (64, None, 64),
        (7, None, 7),
        (1, None, 1),
        (997, None, 100),  # a prime: the remainder has a program of its own
        (1010, None, 10),
        (202, None, 100),  # its even chunks would be of 2 steps
        (500, 250, 50),
        (500, 20, 20),
        (500, 1, 1),
        (500, 7, 100),
        (5, 7, 100),
    ],
)
def test_defaultchunk_length(steps, eval_every, length):
    assert chunk_length(steps, *([eval_every] if eval_every else [])) == length


@pytest.mark.parametrize(
    ("options", "chunks", "evaluated"),
    [
        ({"steps": 25, "chunk": 10}, [10, 20, 25], [25]),
        ({"steps": 25, "chunk": 100}, [25], [25]),
        ({"steps": 25, "chunk": 10, "eval_every": 5}, [5, 10, 15, 20, 25], [5, 10, 15, 20, 25]),
        ({"steps": 25, "chunk": 4, "eval_every": 10}, [4, 8, 10, 14, 18, 20, 24, 25], [10, 20, 25]),
        ({"steps": 25, "eval_every": 10}, [10, 20, 25], [10, 20, 25]),
        ({"steps": 12, "eval_every": 10, "start_step": 5}, [10, 17], [10, 17]),
        ({"steps": 5, "eval_every": 10, "start_step": 10}, [15], [15]),
    ],
)
def test_when_the_host_looks(options, chunks, evaluated):
    calls = []
    result = fit(
        total,
        jnp.zeros(2),
        SGD,
        None,
        eval_fn=jnp.sum,
        callback=lambda step, params, losses: calls.append((step, params, losses)),
        **options,
    )
    start = options.get("start_step", 0)
    assert [step for step, _, _ in calls] == chunks
    assert [step for step, _ in result.evaluations] == evaluated
    assert [losses.size for _, _, losses in calls] == np.diff([start, *chunks]).tolist()
    assert_same(np.concatenate([losses for _, _, losses in calls]), result.losses)
    one_step = 4 * 25 * np.finfo(np.float32).eps
    for step, params, _ in calls:
        np.testing.assert_allclose(params, -0.1 * (step - start), rtol=one_step)
    for step, value in result.evaluations:
        np.testing.assert_allclose(value, -0.2 * (step - start), rtol=one_step)


def test_small_integers_of_numpy_do_not_overflow():
    steps = np.int8(99)
    assert fit(total, jnp.zeros(2), SGD, None, steps=steps, start_step=steps).step == 198


def test_without_eval_fn_nothing_is_evaluated():
    assert fit(total, jnp.zeros(2), SGD, None, steps=3).evaluations == []


def test_evaluations_are_trees_of_numpy_arrays_that_stay():
    result = fit(
        lambda params, _: jnp.sum(params["w"]),
        {"w": jnp.zeros(2)},
        SGD,
        None,
        steps=3,
        eval_fn=lambda params: {"params": params, "one": 1.0},
        eval_every=1,
    )
    path = [value["params"]["w"][0] for _, value in result.evaluations]
    np.testing.assert_allclose(path, [-0.1, -0.2, -0.3], rtol=4 * np.finfo(np.float32).eps)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(result.evaluations[0][1]))


def test_until_ends_the_run_at_an_evaluation():
    run = functools.partial(
        fit, total, jnp.zeros(1), SGD, None, steps=50, eval_fn=jnp.sum, eval_every=5
    )
    result = run(until=lambda value: value < -0.95)
    assert result.reached
    assert result.step == result.losses.size == result.evaluations[-1][0] == 10
    assert result.opt_state is not None
    never = run(until=lambda value: value > 0)
    assert not never.reached
    assert never.step == 50
    last = run(until=lambda value: value < -4.95)
    assert (last.reached, last.step) == (True, 50)


# ---- compiles and buffers -----------------------------------------------------------------


def test_a_second_run_does_not_compile():
    loss_fn = counting(squared_error)
    run = functools.partial(fit, loss_fn, batch_size=4)
    data = regression()
    run(params=zeros(), optimizer=MOMENTUM, data=data, steps=20, chunk=10, key=BATCH_KEY)
    traces = loss_fn.traces
    assert traces == 1
    more = run(
        params=jax.tree.map(lambda leaf: leaf + 1, zeros()),
        optimizer=MOMENTUM,
        data=jax.tree.map(lambda leaf: 2 * leaf, data),
        steps=50,
        chunk=10,
        key=jax.random.key(5),
    )
    run(
        params=more.params,
        optimizer=MOMENTUM,
        data=data,
        opt_state=more.opt_state,
        start_step=more.step,
        steps=10,
        key=BATCH_KEY,
    )
    assert loss_fn.traces == traces


def test_python_and_numpy_parameters_compile_once():
    loss_fn = counting(squared_error)
    for params in (
        {"w": np.zeros(3), "b": 0.0},
        {"w": np.zeros(3, np.float32), "b": jnp.asarray(0.0)},
    ):
        result = fit(loss_fn, params, SGD, regression(), steps=4, chunk=1)
        assert not result.params["b"].weak_type
    assert loss_fn.traces == 1


def test_programs_are_kept_apart():
    data = regression()
    slow = fit(squared_error, zeros(), optax.sgd(0.0), data, steps=2)
    fast = fit(squared_error, zeros(), optax.sgd(0.1), data, steps=2)
    other = fit(lambda p, b: 2 * squared_error(p, b), zeros(), optax.sgd(0.1), data, steps=2)
    assert slow.losses[0] == slow.losses[1] == fast.losses[0] == other.losses[0] / 2
    assert fast.losses[1] != slow.losses[1]


def test_the_callers_arrays_stay_valid():
    params, state = zeros(), MOMENTUM.init(zeros())
    data = regression()
    kept = []
    first = fit(
        squared_error,
        params,
        MOMENTUM,
        data,
        opt_state=state,
        steps=4,
        chunk=1,
        batch_size=4,
        key=BATCH_KEY,
        callback=lambda step, params, losses: kept.append(params),
    )
    fit(squared_error, first.params, MOMENTUM, data, opt_state=first.opt_state, steps=2)
    assert_same(params, zeros())
    for leaf in jax.tree.leaves((params, state, data, first, kept, BATCH_KEY)):
        assert not (isinstance(leaf, jax.Array) and leaf.is_deleted())
    assert kept[0]["b"] != kept[-1]["b"]


def test_a_state_may_share_arrays_with_the_parameters():
    anchored = optax.GradientTransformation(
        init=lambda params: (params, params),
        update=lambda grads, state, params=None: (jax.tree.map(jnp.negative, grads), state),
    )
    params = zeros()
    result = fit(squared_error, params, anchored, regression(), steps=3, chunk=1)
    assert_same(result.opt_state, (zeros(), zeros()))
    assert not params["w"].is_deleted()


def chunk_arguments(optimizer):
    params = zeros()
    source = batches.source(regression(), 4, BATCH_KEY, 0)
    carry = Carry(params, optimizer.init(params), batches.start(source, step=0))
    program = kept(build, squared_error, optimizer.update, None)
    static = Static(4, has_aux=False, where=sharding.placement(carry, source.data))
    return program.chunk, (carry, source.data, source.key), (static, 10)


def test_the_compiled_loop_reuses_its_buffers():
    chunk, arguments, static = chunk_arguments(MOMENTUM)
    lowered = chunk.lower(*arguments, *static)
    memory = lowered.compile().memory_analysis()
    assert memory.alias_size_in_bytes >= sum(leaf.nbytes for leaf in jax.tree.leaves(arguments[0]))


@pytest.mark.parametrize("platform", ["cuda", "rocm", "tpu"])
def test_the_loop_lowers_for_accelerators(platform):
    chunk, arguments, static = chunk_arguments(MOMENTUM)
    run = jax.jit(lambda *arguments: chunk(*arguments, *static))
    exported = export.export(run, platforms=[platform])(*arguments)
    assert exported.out_avals[-1].shape == (10,)


# ---- optimizers and dtypes ----------------------------------------------------------------


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(0.1),
        optax.lbfgs(),
        optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1)),
        optax.contrib.schedule_free_sgd(0.3),
        optax.inject_hyperparams(optax.sgd)(learning_rate=optax.linear_schedule(0.1, 0.01, 20)),
        optax.MultiSteps(optax.sgd(0.3), every_k_schedule=2),
        optax.multi_transform(
            {"fast": optax.sgd(0.1), "slow": optax.sgd(0.01)}, {"w": "fast", "b": "slow"}
        ),
        optax.noisy_sgd(0.1, eta=1e-8, key=0),
    ],
    ids=[
        "adam",
        "lbfgs",
        "plateau",
        "schedule_free",
        "inject",
        "multi_steps",
        "multi_transform",
        "noisy",
    ],
)
def test_any_optax_optimizer_trains(optimizer):
    with jax.numpy_dtype_promotion("standard"):  # some of optax mixes dtypes
        result = fit(squared_error, zeros(), optimizer, regression(), steps=30, chunk=15)
    assert result.losses[-1] < 0.2 * result.losses[0]


def test_optimizers_are_told_value_grad_and_value_fn():
    def init(params):
        return {"value": 0.0, "again": 0.0, "same": True}

    def update(grads, state, params, *, value, grad, value_fn):
        same = jnp.array_equal(grads["w"], grad["w"]) & jnp.array_equal(grads["b"], grad["b"])
        state = {"value": value, "again": value_fn(params), "same": state["same"] & same}
        return jax.tree.map(lambda g: -0.1 * g, grads), state

    asks = optax.GradientTransformationExtraArgs(init, update)
    data = regression()
    result = fit(squared_error, zeros(), asks, data, steps=5, batch_size=4, key=BATCH_KEY)
    plain = fit(squared_error, zeros(), SGD, data, steps=5, batch_size=4, key=BATCH_KEY)
    assert result.opt_state["value"] == result.losses[-1]
    assert_close(result.opt_state["again"], result.losses[-1], 1)
    assert bool(result.opt_state["same"])
    assert_close(result.params, plain.params, 5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes_are_kept(dtype, x64):
    data = regression(dtype=jnp.dtype(dtype))
    result = fit(
        squared_error, zeros(dtype), MOMENTUM, data, steps=9, chunk=3, batch_size=4, key=BATCH_KEY
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves(result.opt_state)} == {jnp.dtype(dtype)}
    assert result.losses.dtype == jnp.dtype(dtype)
    assert result.losses[-1] < result.losses[0]


def test_complex_parameters_descend():
    target = 3 - 2j
    result = fit(
        lambda z, _: jnp.sum(jnp.abs(z - target) ** 2), jnp.zeros(2, jnp.complex64), SGD, None,
        steps=3,
    )  # fmt: skip
    rounding = 20 * np.finfo(np.float32).eps
    np.testing.assert_allclose(result.params, target * (1 - 0.8**3), rtol=rounding)


def test_none_leaves_are_kept():
    result = fit(lambda p, _: p["w"] ** 2, {"w": 1.0, "none": None}, SGD, None, steps=2)
    assert result.params["none"] is None


# ---- progress -----------------------------------------------------------------------------


def test_progress_bar_on_stderr(capsys):
    fit(total, jnp.full(2, 8.0), optax.sgd(1.0), None, steps=4, chunk=2, start_step=6,
        progress=True)  # fmt: skip
    out, err = capsys.readouterr()
    assert out == ""
    assert "4/4" in err
    assert "loss 10" in err


def test_no_progress_by_default(capsys):
    fit(total, jnp.zeros(2), SGD, None, steps=4)
    assert capsys.readouterr() == ("", "")


def test_progress_without_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with pytest.raises(ImportError, match=r"fit: progress=True needs rich: pip install 'lecture_o"):
        fit(untouched, zeros(), SGD, None, steps=4, progress=True)


# ---- errors -------------------------------------------------------------------------------


def untouched(params, batch):
    raise AssertionError("an error in the arguments comes before any work")


def good_arguments(**changes):
    return {
        "loss_fn": untouched,
        "params": zeros(),
        "optimizer": SGD,
        "data": regression(),
        "steps": 4,
        "batch_size": 4,
        "key": BATCH_KEY,
        "eval_fn": jnp.sum,
    } | changes


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"steps": 0}, ValueError, "fit: steps is 0; wanted at least 1"),
        ({"steps": 2.5}, TypeError, "fit: steps is 2.5; wanted an integer"),
        ({"steps": None}, TypeError, "fit: steps or epochs says how long to train, and neither is"),
        ({"epochs": 2}, TypeError, "fit: steps or epochs says how long to train, and both are giv"),
        ({"steps": None, "epochs": 0}, ValueError, "fit: epochs is 0; wanted at least 1"),
        ({"steps": None, "epochs": 1.5}, TypeError, "fit: epochs is 1.5; wanted an integer"),
        ({"patience": 0, "eval_every": 1}, ValueError, "fit: patience is 0; wanted at least 1"),
        ({"patience": 3}, ValueError, "fit: patience is given with steps, and eval_every is not"),
        ({"patience": 3, "eval_fn": None}, ValueError, "fit: patience is given and eval_fn is not"),
        ({"start_step": -1}, ValueError, "fit: start_step is -1; wanted at least 0"),
        ({"chunk": 0}, ValueError, "fit: chunk is 0; wanted at least 1"),
        ({"eval_every": 0}, ValueError, "fit: eval_every is 0; wanted at least 1"),
        ({"eval_every": 1.0}, TypeError, "fit: eval_every is 1.0; wanted an integer"),
        ({"batch_size": 0}, ValueError, "fit: batch_size is 0; wanted at least 1"),
        ({"batch_size": "4"}, TypeError, "fit: batch_size is '4'; wanted an integer"),
        ({"batch_size": 13}, ValueError, "fit: batch_size is 13 and data has 12 examples"),
        ({"data": None}, ValueError, "fit: batch_size is 4 and data has 0 examples"),
        ({"eval_fn": 3}, TypeError, "fit: eval_fn is 3; wanted a function params -> value"),
        ({"loss_fn": [jnp.zeros((9, 9))]}, TypeError, "fit: loss_fn is a list; wanted a function"),
        ({"optimizer": [jnp.zeros((9, 9))]}, TypeError, "fit: optimizer is a list; wanted an opt"),
        ({"loss_fn": 3}, TypeError, "fit: loss_fn is 3; wanted a function (params, batch) -"),
        ({"optimizer": 3}, TypeError, "fit: optimizer is 3; wanted an optax.GradientTransformat"),
        (
            {"optimizer": (SGD.init, SGD.update)},
            TypeError,
            "wanted an optax.GradientTransformation, that is an object with init and update",
        ),
        ({"params": {}}, ValueError, "fit: params is {}, without an array; there is nothing to"),
        (
            {"params": {"w": jnp.zeros(3), "n": 3}},
            TypeError,
            "fit: params['n'] is a int of dtype int32; wanted a floating array",
        ),
        (
            {"params": [jnp.zeros(3), "relu"]},
            TypeError,
            "fit: params[1] is a str of dtype object; wanted a floating array",
        ),
        (
            {"data": {"x": jnp.zeros((6, 2)), "y": jnp.zeros(5)}},
            ValueError,
            "fit: data['y'] has shape (5,) and data['x'] has (6, 2); wanted leading axes of one",
        ),
        (
            {"data": (jnp.zeros(0), jnp.zeros(5))},
            ValueError,
            "fit: data[1] has shape (5,) and data[0] has (0,); wanted leading axes of one length",
        ),
        ({"data": [3.0]}, ValueError, "fit: data[0] is a scalar; wanted a leading axis of example"),
        ({"key": None}, TypeError, "fit: key is None; batches need one random key"),
        ({"key": 0}, TypeError, "fit: key is 0; batches need one random key, as jax.random.key(0)"),
        ({"key": jax.random.split(BATCH_KEY)}, TypeError, "batches need one random key"),
        ({"key": jnp.zeros(3, jnp.uint32)}, TypeError, "batches need one random key"),
        ({"key": jnp.zeros(2)}, TypeError, "batches need one random key"),
        ({"eval_fn": None, "eval_every": 2}, ValueError, "fit: eval_every is given and eval_fn is"),
        ({"eval_fn": None, "until": bool}, ValueError, "fit: until is given and eval_fn is not"),
        (
            {"opt_state": optax.adam(1.0).init(zeros())},
            ValueError,
            "fit: opt_state is PyTreeDef((CustomNode(namedtuple[ScaleByAdamState]",
        ),
        (
            {"optimizer": MOMENTUM, "opt_state": MOMENTUM.init(zeros() | {"w": jnp.zeros(7)})},
            ValueError,
            "fit: opt_state[0].trace['w'] has shape (7,); this optimizer and params want (3,)",
        ),
        ({"data": {"x": ["a", "b"]}}, TypeError, "fit: data['x'][0] is a str; wanted an array of"),
        ({"data": [np.array(["a", "b"])]}, TypeError, "data[0] is a ndarray of dtype <U1; wanted"),
    ],
)  # fmt: skip
def test_wrong_arguments(changes, error, text):
    with pytest.raises(error) as caught:
        fit(**good_arguments(**changes))
    assert text in str(caught.value)


def test_data_of_text_is_told_in_one_sentence():
    with pytest.raises(TypeError) as caught:
        fit(**good_arguments(data=["red", "blue"]))
    assert str(caught.value) == "fit: data[0] is a str; wanted an array of numbers"


@pytest.mark.parametrize(
    ("loss_fn", "text"),
    [
        (lambda p, b: b["y"] - p["b"], "fit: loss_fn gives shape (12,); wanted a scalar"),
        (lambda p, b: (p["b"], b["y"]), "fit: loss_fn gives shape ((), (12,)); wanted a scalar"),
        (lambda p, b: (p["b"], {}), "as a mean does; a pair of it and a dict of metrics needs has"),
        (lambda p, b: None, "fit: loss_fn gives shape None; wanted a scalar"),
        (lambda p, b: 3, "fit: loss_fn gives dtype int32; wanted a float"),
        (lambda p, b: jnp.complex64(1j), "fit: loss_fn gives dtype complex64; wanted a float"),
    ],
)
def test_wrong_losses(loss_fn, text):
    with pytest.raises(TypeError) as caught:
        fit(loss_fn, zeros(), SGD, regression(), steps=4)
    assert text in str(caught.value)


def test_a_constant_loss_is_a_loss():
    result = fit(lambda p, b: 2.0, zeros(), SGD, None, steps=3)
    assert_same(result.losses, np.full(3, 2.0))
    assert_same(result.params, zeros())


def test_the_result_is_a_named_tuple():
    fields = ("params", "opt_state", "losses", "evaluations", "step", "reached", "metrics", "best")
    assert FitResult._fields == fields


# ---- a loss that is NaN -------------------------------------------------------------------


def test_a_label_out_of_range_is_named():
    data = jnp.ones((4, 2)), jnp.array([0, 1, 7, 2])

    def loss_fn(params, batch):
        return softmax_cross_entropy(batch[0] @ params, batch[1])

    with pytest.raises(ValueError, match=r"fit: the loss of step 0 is NaN, as .*7"):
        fit(loss_fn, jnp.ones((2, 3)), SGD, data, steps=4)


@pytest.mark.parametrize("where", ["params", "batch"])
def test_a_first_loss_that_is_nan_is_explained(where):
    params, data = jnp.ones(2), jnp.ones((4, 2))
    if where == "params":
        params = params.at[0].set(jnp.nan)
    else:
        data = data.at[0, 0].set(jnp.nan)
    with pytest.warns(
        UserWarning, match=f"the first loss is NaN before any step: {where} holds NaN"
    ):
        fit(lambda p, b: jnp.sum(p) * jnp.sum(b), params, SGD, data, steps=2)


def test_a_later_loss_that_is_nan_is_no_error():
    result = fit(lambda p, b: jnp.sum(p**4) + jnp.sum(b), jnp.full(2, 1e8), optax.sgd(10.0),
                 jnp.ones((4, 2)), steps=6)  # fmt: skip
    assert not np.isfinite(result.losses[-1])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (np.array([1, "a"], object), "fit: data is a ndarray of dtype object; wanted an array"),
        (jnp.ones((0, 2)), "no examples; wanted at least one"),
        ([[1.0, 2.0], [3.0, 4.0]], "numpy.asarray makes one array of it"),
    ],
)
def test_data_that_can_not_be_trained_on_is_told(data, text):
    with pytest.raises((TypeError, ValueError), match=text):
        fit(total, jnp.ones(2), SGD, data, steps=2)


def test_functions_among_the_params_name_the_way_out():
    with pytest.raises(TypeError, match=r"eqx\.partition"):
        fit(total, {"w": jnp.ones(2), "f": jnp.tanh}, SGD, None, steps=2)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_a_traced_call_is_told(transform):
    def train(params):
        return fit(total, params, SGD, None, steps=2).losses[-1]

    with pytest.raises(TypeError, match="params is traced, by jit, vmap or grad"):
        transform(train)(jnp.ones((2,)))
