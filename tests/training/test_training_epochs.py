"""Epochs, their metrics, patience, and streams of batches, alone and resumed."""

import functools
import itertools
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lecture_opt as lo
from lecture_opt.training import history, streams
from lecture_opt.training.steps import Told

KEY = jax.random.key(3)
SGD = optax.sgd(0.1)
ADAM = lo.adam(0.3)
EXAMPLES, SIZE = 40, 12
EPOCH = EXAMPLES // SIZE
X = np.random.default_rng(0).normal(size=(EXAMPLES, 3)).astype(np.float32)
Y = X @ np.array([1, -2, 3], np.float32)
START = np.zeros(3, np.float32)


def squared(w, batch):
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


def with_metrics(w, batch):
    errors = batch[0] @ w - batch[1]
    wrong = jnp.abs(errors) > 1
    return jnp.mean(errors**2), {"wrong": jnp.mean(wrong), "first": batch[1][0], "some": wrong[0]}


def batches(epoch):
    """Three batches in an order of the epoch's own, and a shorter one."""
    order = np.random.default_rng(epoch).permutation(EXAMPLES)
    for i in range(0, EXAMPLES, SIZE):
        rows = order[i : i + SIZE]
        yield X[rows], Y[rows]


def arrays(params=START, **options):
    options = {"has_aux": True, "batch_size": SIZE, "key": KEY} | options
    return lo.fit(with_metrics, params, ADAM, (X, Y), **options)


def streamed(params=START, data=batches, **options):
    return lo.fit(with_metrics, params, ADAM, data, **{"has_aux": True} | options)


BOTH = pytest.mark.parametrize("run", [arrays, streamed])


def assert_same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def error(w):
    return squared(w, (X, Y))


# ---- epochs and metrics -------------------------------------------------------------------


@BOTH
def test_epochs_are_so_many_steps(run):
    result = run(epochs=3)
    assert (result.step, result.losses.size, result.reached) == (3 * EPOCH, 3 * EPOCH, False)
    assert_same(run(steps=3 * EPOCH), result)


@BOTH
def test_with_epochs_each_is_evaluated(run):
    steps = [step for step, _ in run(epochs=3, eval_fn=error).evaluations]
    assert steps == [EPOCH, 2 * EPOCH, 3 * EPOCH]
    assert [step for step, _ in run(epochs=3, eval_fn=error, eval_every=4).evaluations] == [4, 8, 9]
    assert [step for step, _ in run(steps=7, eval_fn=error).evaluations] == [7]


@BOTH
def test_an_epoch_that_is_begun_is_done_to_its_end(run):
    whole, first = run(epochs=3), run(steps=4)
    rest = run(first.params, opt_state=first.opt_state, start_step=4, epochs=2)
    assert rest.step == whole.step
    assert_same(np.concatenate([first.losses, rest.losses]), whole.losses)
    assert_same(rest.params, whole.params)


def test_without_a_batch_size_an_epoch_is_a_step():
    result = lo.fit(squared, jnp.zeros(3), SGD, (X, Y), epochs=4, eval_fn=error)
    assert [step for step, _ in result.evaluations] == [1, 2, 3, 4]


@BOTH
def test_metrics_are_means_over_each_epoch_and_what_one_has_begun(run):
    seen = []
    optimizer = optax.sgd(0.0)  # the parameters stay, so each batch can be asked again
    data = batches if run is streamed else (X, Y)
    rest = {} if run is streamed else {"batch_size": SIZE, "key": KEY}

    def loss_fn(w, batch):
        loss, metrics = with_metrics(w, batch)
        return loss, metrics | {"loss": loss}

    result = lo.fit(loss_fn, jnp.ones(3), optimizer, data, has_aux=True, steps=8, chunk=3, **rest)
    for end, means in result.metrics:
        begun = (end - 1) // EPOCH * EPOCH
        np.testing.assert_allclose(means["loss"], result.losses[begun:end].mean(), rtol=1e-6)
        assert set(means) == {"wrong", "first", "some", "loss"}
        seen.append(end)
    assert seen == [3, 6, 8]
    if run is streamed:
        losses, metrics = zip(
            *(with_metrics(jnp.ones(3), b) for b in itertools.islice(batches(1), 3)), strict=True
        )
        np.testing.assert_allclose(result.losses[3:6], losses, rtol=1e-5)
        for name in ("wrong", "first", "some"):
            wanted = np.mean([np.asarray(m[name], np.float64) for m in metrics])
            np.testing.assert_allclose(result.metrics[1][1][name], wanted, rtol=1e-6)


def test_a_denominator_weighs_the_batches():
    """As for tokens, of which batches hold more or less."""
    data = np.array([[1.0, 2.0], [3.0, np.nan], [np.nan, np.nan]], np.float32)

    def loss_fn(w, batch):
        known = ~jnp.isnan(batch)
        mean = jnp.sum(jnp.where(known, batch, 0)) / jnp.maximum(jnp.sum(known), 1).astype(float)
        return jnp.sum(w**2), {"mean": mean, "denominator": jnp.sum(known)}

    result = lo.fit(loss_fn, jnp.ones(1), SGD, data, has_aux=True, epochs=1, batch_size=1, key=KEY)
    assert result.metrics == [(3, {"mean": 2.0})]
    none = lo.fit(loss_fn, jnp.ones(1), SGD, data[2:], has_aux=True, epochs=1)
    assert math.isnan(none.metrics[0][1]["mean"])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "fit: has_aux is True and loss_fn gives shape (); wanted (loss, metrics), where"),
        ((1.0, 2.0), "gives shape ((), ()); wanted (loss, metrics), where metrics is a dict"),
        ((1.0, {"a": jnp.ones(2)}), "fit: loss_fn gives metrics['a'] of shape (2,); wanted a real"),
        ((1.0, {"a": {"b": 1.0}}), "fit: loss_fn gives metrics['a'] of shape {'b': ()}; wanted a"),
        ((1.0, {"a": 1j}), "fit: loss_fn gives metrics['a'] of shape (); wanted a real scalar"),
    ],
)
def test_wrong_metrics_are_told(value, text):
    with pytest.raises(TypeError) as caught:
        lo.fit(lambda w, b: value, jnp.ones(2), SGD, None, steps=2, has_aux=True)
    assert text in str(caught.value)


def test_metrics_are_drawn(capsys):
    arrays(epochs=2, progress=True)
    assert "wrong " in capsys.readouterr().err


@pytest.mark.parametrize("chunks", [(4, 4, 4), (5, 3, 1, 3), (2, 2, 8), (1,) * 12])
def test_the_metrics_drawn_are_those_of_the_epoch_alone(chunks):
    seen, step, rng = history.History(), 10, np.random.default_rng(0)
    for size in chunks:
        told = Told(np.zeros(size), {"a": rng.normal(size=size), "denominator": np.ones(size)})
        seen.add(told, step, (0, 1), per_epoch=4)
        step += size
        assert history.latest(seen, 10, step) == history.means(seen, 10, step)[-1][1]
    seen.metrics[0] = {}  # of an epoch before
    assert history.latest(seen, 10, step)
    assert history.latest(history.History(), 10, step) == {}


def test_a_row_optimizer_has_metrics_too():
    def loss_fn(params, batch):
        return jnp.sum(params**2), {"rows": params.shape[0], "sum": jnp.sum(params)}

    table = jnp.ones((5, 1))
    result = lo.fit(loss_fn, table, lo.rows.sgd(0.25), jnp.array([1, 3]), steps=2, has_aux=True,
                    ids_fn=lambda batch: batch)  # fmt: skip
    assert result.metrics == [(1, {"rows": 2.0, "sum": 2.0}), (2, {"rows": 2.0, "sum": 1.0})]


def test_optimizers_are_told_the_loss_without_its_metrics():
    asks = optax.GradientTransformationExtraArgs(
        lambda params: jnp.zeros(()),
        lambda grads, state, params, *, value, value_fn: (grads, value - value_fn(params)),
    )
    assert lo.fit(with_metrics, jnp.ones(3), asks, (X, Y), steps=1, has_aux=True).opt_state == 0


# ---- patience -----------------------------------------------------------------------------


def falling_until(bottom, **options):
    """A run whose evaluation falls to 0 at that step, and then rises."""
    return lo.fit(lambda w, b: -jnp.sum(w), jnp.zeros(()), optax.sgd(1.0), None, eval_every=1,
                  eval_fn=lambda w: jnp.abs(w - bottom), **options)  # fmt: skip


def test_patience_ends_the_run_and_keeps_the_best():
    result = falling_until(5, steps=50, patience=3)
    assert (result.step, result.reached) == (8, True)
    assert (float(result.params), float(result.best)) == (8, 5)
    whole = falling_until(5, steps=7, patience=3)
    assert (whole.step, whole.reached, float(whole.best)) == (7, False, 5)
    assert falling_until(5, steps=7).best is None


def test_nan_is_never_the_best():
    values = iter([np.nan, 3.0, 2.0, np.nan, 2.0, 9.0])
    result = lo.fit(lambda w, b: -jnp.sum(w), jnp.zeros(()), optax.sgd(1.0), None, steps=9,
                    eval_every=1, eval_fn=lambda w: next(values), patience=3)  # fmt: skip
    assert (result.step, float(result.best)) == (6, 3)
    lost = lo.fit(lambda w, b: -jnp.sum(w), jnp.zeros(()), optax.sgd(1.0), None, steps=9,
                  eval_every=1, eval_fn=lambda w: np.nan, patience=4)  # fmt: skip
    assert (lost.step, lost.reached, float(lost.best)) == (4, True, 0)


@pytest.mark.parametrize("value", [{"loss": 1.0}, np.ones(2), 1j, None])
def test_patience_wants_one_number(value):
    with pytest.raises(TypeError, match="fit: patience is given and eval_fn gives shape"):
        lo.fit(squared, jnp.zeros(3), SGD, (X, Y), epochs=3, eval_fn=lambda w: value, patience=2)


# ---- streams ------------------------------------------------------------------------------


def test_a_stream_is_the_loop_of_ones_own():
    state, params, losses = ADAM.init(jnp.zeros(3)), jnp.zeros(3), []
    for epoch in range(2):
        for batch in itertools.islice(batches(epoch), EPOCH):
            loss, grads = jax.value_and_grad(squared)(params, batch)
            updates, state = ADAM.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            losses.append(loss)
    result = streamed(epochs=2)
    np.testing.assert_allclose(result.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(result.params, params, rtol=1e-5)


def test_a_stream_without_end_and_one_that_is_a_list():
    endless = lo.fit(squared, jnp.zeros(3), ADAM,
                     lambda epoch: itertools.cycle(itertools.islice(batches(0), EPOCH)),
                     steps=7)  # fmt: skip
    again = lo.fit(squared, jnp.zeros(3), ADAM, lambda epoch: list(batches(0)), steps=7)
    assert_same(endless, again)


def test_a_stream_is_compiled_once_and_let_go():
    traces, live = [], []

    def loss_fn(w, batch):
        traces.append(1)
        return squared(w, batch)

    def stream(epoch):
        for batch in batches(epoch):
            live.append(len(jax.live_arrays()))
            yield batch

    lo.fit(loss_fn, jnp.zeros(3), ADAM, stream, epochs=20)
    assert len(traces) == 1
    assert max(live[40:]) <= max(live[20:40])  # batches that were used are freed


def test_a_stream_continues_where_it_was():
    whole, first = streamed(steps=11), streamed(steps=4)
    rest = streamed(params=first.params, opt_state=first.opt_state, start_step=4, steps=7)
    assert_same(rest.params, whole.params)
    assert_same(np.concatenate([first.losses, rest.losses]), whole.losses)
    place = [streams.place_of(batches, step) for step in range(8)]
    assert place == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]


@pytest.mark.parametrize(("run", "stop"), [(arrays, 4), (streamed, 4), (streamed, 6)])
def test_a_saved_run_goes_on_bit_for_bit(tmp_path, run, stop):
    """With its metrics, its evaluations and its best, in an epoch and at the end of one."""
    pytest.importorskip("orbax.checkpoint")
    options = {"epochs": 3, "eval_fn": error, "patience": 2, "chunk": 1}
    asked = []

    def stream(epoch):
        asked.append(epoch)
        return batches(epoch)

    def interrupt(step, params, losses):
        if step > stop:
            raise KeyboardInterrupt

    place = lo.Checkpoint(tmp_path, every=2)
    run = functools.partial(streamed, data=stream) if run is streamed else run
    whole = run(**options)
    with pytest.raises(KeyboardInterrupt):
        run(**options, checkpoint=place, callback=interrupt)
    asked.clear()
    assert_same(run(**options, checkpoint=place), whole)
    if asked:
        assert asked == [0, *range(stop // EPOCH, 3)]  # the first for its shapes
    assert_same(run(**options, checkpoint=place), whole)  # nothing is left to do


def test_a_run_is_not_resumed_with_other_metrics_or_patience(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    arrays(steps=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"with patience None, and this has given"):
        arrays(steps=4, eval_fn=error, eval_every=1, patience=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"with metrics \['first', 'some', 'wrong'\], and this"):
        lo.fit(squared, jnp.zeros(3), ADAM, (X, Y), batch_size=SIZE, key=KEY, steps=4,
               checkpoint=tmp_path)  # fmt: skip


def test_fewer_epochs_than_a_stream_has_done_are_told(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    streamed(epochs=2, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="is beyond the last epoch, 1"):
        streamed(epochs=1, checkpoint=tmp_path)
    assert streamed(epochs=2, checkpoint=tmp_path).step == 2 * EPOCH


@pytest.mark.parametrize("bad", [0, 5, 20])
def test_a_label_out_of_range_in_a_stream_is_named(bad):
    def stream(epoch):
        for step in range(30):
            labels = np.array([0, 1]) if step < bad else np.array([0, 7])
            yield np.ones((2, 2), np.float32), labels

    def loss_fn(w, batch):
        loss = lo.softmax_cross_entropy(batch[0] @ w, batch[1])
        return loss, {"loss": loss}

    with pytest.raises(ValueError, match=rf"fit: the loss of step {bad} is NaN, as .* 7"):
        lo.fit(loss_fn, jnp.zeros((2, 3)), SGD, stream, steps=30, has_aux=True)


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (lambda epoch: 3, TypeError, "fit: data(0) gives a int; wanted batches, as a list or a"),
        (lambda epoch: [], ValueError, "fit: data(0) gives no batch; wanted at least one"),
        (
            lambda epoch: [np.ones(3), np.ones(2), np.ones(3)],
            ValueError,
            "fit: batch 2 of data(0) is float32[2] and the first was float32[3]; wanted batches",
        ),
        (lambda epoch: [np.ones(2), np.ones(3)], ValueError, "is float32[3] and the first was fl"),
        (lambda epoch: [np.ones(2), np.ones(2, int)], ValueError, "is int32[2] and the first was"),
        (lambda epoch: [np.ones(2), (np.ones(2),)], ValueError, "is ('float32[2]',) and the first"),
        (lambda epoch: [np.array([2**40])], ValueError, "fit: data holds 1099511627776, which is"),
        (lambda epoch: ["text"], TypeError, "fit: data is a str; wanted an array of numbers"),
        (iter([np.ones(2)]), TypeError, "fit: data is a list_iterator; wanted arrays, or a fun"),
        (range(3), TypeError, "gives its batches: data=lambda epoch: loader"),
        (np.ma.ones(3), TypeError, "fit: data is a masked array, and JAX would drop its mask"),
    ],
)  # fmt: skip
def test_what_is_no_stream_is_told(data, kind, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(kind) as caught:
            lo.fit(lambda w, b: jnp.sum(w), jnp.ones(2), SGD, data, steps=3)
    assert text in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("batch_size", 4), ("key", KEY)])
def test_a_stream_takes_no_order(name, value):
    with pytest.raises(ValueError, match=f"fit: {name} is given and data is a function, whose"):
        streamed(epochs=1, **{name: value})
