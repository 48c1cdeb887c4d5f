"""Every task can be trained, its parts are disjoint, and a user's own is found."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lecture_opt import problems, rows
from lecture_opt.environment import lenient
from lecture_opt.problems import bound, fetched, synthetic, tables, text
from lecture_opt.problems import loop as loops
from lecture_opt.problems.parts import examples

FETCHED = ("mnist-mlp", "fashion-mnist-mlp", "newsgroups")
SIZES = {
    "bytes-transformer": 118_656, "bytes-gru": 98_944, "digits-batchnorm": 19_258,
    "digits-vae": 19_792, "text-glove": None,
}  # fmt: skip
"""The modern tasks and their parameters, where these do not depend on Python's documentation."""
OFFLINE = [
    name if name in problems.DEFAULT else pytest.param(name, marks=pytest.mark.slow)
    for name in problems.TASKS
    if name not in {*FETCHED, *SIZES}
]


@pytest.mark.parametrize("name", OFFLINE)
def test_every_task_has_a_finite_gradient_a_metric_and_three_parts(name, key):
    task = problems.load(name)
    assert task.name == name
    assert task.description.endswith(".")
    train, validation, test = task.parts()
    small = jax.tree.map(lambda leaf: leaf[:64], train)

    @jax.jit  # in one: compiling is what takes the time
    def measured(key):
        params = task.init(key)
        loss, grads = jax.value_and_grad(task.loss)(params, small)
        return loss, grads, task.metric(params, small)

    loss, grads, metric = measured(key)
    assert np.isfinite(loss)
    assert np.isfinite(metric)
    leaves = jax.tree.leaves(grads)
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
    assert any(np.any(leaf != 0) for leaf in leaves)
    assert examples(train) > 2 * examples(validation)
    assert examples(validation) == examples(test)  # one program serves both


def trained_by(problem):
    with lenient():
        params, _ = bound.trained_by(problems.as_loop(problem), optax.sgd(0.1))
    return sum(leaf.size for leaf in jax.tree.leaves(params))


@pytest.mark.parametrize("name", problems.MODERN)
def test_a_modern_task_has_its_sizes_and_three_parts(name):
    one, four = problems.load(name), problems.load(name, scale=4)
    assert (one.name, four.name) == (name, f"{name}-x4")
    assert one.description.endswith(".")
    assert one.target is not None
    assert trained_by(one) == (SIZES[name] or trained_by(one))
    # About so many times the params: biases, embeddings and heads do not grow as kernels do.
    assert 3 <= trained_by(four) / trained_by(one) <= 4.5
    train, validation, test = map(examples, one.parts())
    assert train > 2 * validation
    assert validation == test  # one program serves both


def test_a_task_of_one_size_says_so():
    with pytest.raises(problems.TaskError, match=r"--scale 4: wine-softmax has one size"):
        problems.load("wine-softmax", scale=4)


@pytest.mark.parametrize("name", ["bytes-transformer", "bytes-gru", "digits-vae"])
def test_a_modern_task_says_what_to_install(name, monkeypatch):
    for module in ("transformer", "recurrent", "convnet", "autoencoder"):
        monkeypatch.delitem(sys.modules, f"lecture_opt.problems.{module}", raising=False)
        monkeypatch.delattr(problems, module, raising=False)
    for package in ("flax", "equinox"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"pip install 'lecture_opt\[workloads\]'"):
        problems.load(name)


def test_a_transformer_sees_nothing_of_what_comes_after(key):
    from lecture_opt.problems.transformer import Transformer

    net, tokens = Transformer(width=16), np.arange(32)[None]
    other = np.where(tokens == 20, 99, tokens)
    with lenient():
        params = jax.jit(net.init)(key, tokens)
        logits = jax.jit(net.apply)(params, np.stack([tokens[0], other[0]]))
    same = np.isclose(logits[0], logits[1], atol=1e-6).all(axis=-1)
    assert same[:20].all()
    assert not same[20:].any()


def test_windows_of_bytes_are_the_text():
    pool = text.byte_windows(33)
    joined = "\n".join(text for text, _ in text.paragraphs())
    found = bytes(pool.examples[:2].ravel().tolist()).decode()
    assert found == joined[:66].encode("ascii", "replace").decode()
    assert pool.examples.max() < text.BYTES


def test_a_rows_optimizer_and_the_dense_one_factorise_alike():
    """Each lookup is one rounding off; a table's row may be read a few times in a batch."""
    loop = problems.load("text-glove")
    steps = list(zip(range(4), loops.batches(loop, 0), strict=False))

    @functools.partial(jax.jit, static_argnums=0)
    def ends(optimizer, batches):
        state = loop.start(optimizer, jax.random.key(0))
        assert state.on_rows == (optimizer is on_rows)
        for batch in batches:
            state, _ = loop.step(state, batch)
        return loop.metric(state, batches[0])

    on_rows, dense = rows.adam(0.01, tables=True), optax.adam(0.01)
    batches = [batch for _, batch in steps]
    with lenient():
        np.testing.assert_allclose(ends(on_rows, batches), ends(dense, batches), rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 1_000_000])
def test_the_parts_of_a_seed_share_no_example(seed):
    x = np.arange(100.0)[:, None]
    parts = problems.split(x, np.arange(100), standardise=False).parts(seed)
    rows = np.concatenate([y for _, y in parts])
    np.testing.assert_array_equal(np.sort(rows), np.arange(100))
    assert [len(y) for _, y in parts] == [60, 20, 20]
    for part_x, part_y in parts:
        np.testing.assert_array_equal(part_x[:, 0], part_y)


def test_each_seed_splits_anew_and_evenly():
    pool = problems.Pool(np.arange(50))
    tested = np.zeros(50)
    for seed in range(1000):
        np.add.at(tested, pool.rows(seed)[2], 1)
        np.testing.assert_array_equal(pool.parts(seed)[2], pool.rows(seed)[2])
    # Binomial(1000, 0.2) for each of 50 examples: 5 deviations of 12.6.
    assert np.abs(tested - 200).max() < 64


def test_a_block_stays_in_one_part():
    parts = problems.Pool(np.repeat(np.arange(20), 5), (0.1, 0.2), block=5).parts(3)
    blocks = [np.unique(part, return_counts=True) for part in parts]
    assert [len(values) for values, _ in blocks] == [14, 2, 4]
    assert all(np.all(counts == 5) for _, counts in blocks)


def test_the_scale_is_that_of_the_pool():
    x = np.random.default_rng(0).normal(5, 3, (100, 2))
    pooled = problems.split(x, np.arange(100)).examples[0]
    np.testing.assert_allclose(pooled.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(pooled.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (problems.Pool((np.ones(8), np.ones(7))), "one first axis"),
        (problems.Pool(np.ones(8), (0.5, 0.5)), "shares"),
        (problems.Pool(np.ones(8), (0.0, 0.5)), "shares"),
        (problems.Pool(np.ones(8), block=3), "block=3; wanted a divisor of the 8"),
        (problems.Pool(np.ones(4)), "4 examples are too few"),
    ],
)
def test_a_pool_that_makes_no_three_parts_is_refused(pool, message):
    with pytest.raises(problems.TaskError, match=message):
        problems.Task("mine", lambda key: 0, lambda p, b: 0, lambda p, b: 0, pool)


def test_the_convolution_by_patches_is_the_convolution(key):
    task = tables.digits_convnet()
    params = jax.jit(task.init)(key)
    images = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    kernels = params["convolution"]["kernel"].reshape(3, 3, 1, 16)
    maps = jax.lax.conv_general_dilated(
        images.reshape(5, 8, 8, 1),
        kernels,
        (2, 2),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    by_patches = tables.patches(images) @ np.asarray(params["convolution"]["kernel"])
    np.testing.assert_allclose(by_patches.reshape(5, 3, 3, 16), maps, rtol=1e-4, atol=1e-5)


def test_words_are_counted_once_and_their_places_filled_up():
    ids, labels, features = text.word_features([("a b a", True), ("b a", False), ("c", False)])
    assert features == 3
    np.testing.assert_array_equal(ids[0, :4], [0, 1, 3, 3])
    np.testing.assert_array_equal(ids[2, :2], [2, 3])
    assert np.all(ids[:, 2:] == 3)
    np.testing.assert_array_equal(labels, [1, 0, 0])


def test_thousands_of_sparse_features_few_of_which_a_batch_has(key):
    task = text.bag_of_words()
    params = jax.jit(task.init)(key)
    grads = jax.jit(jax.grad(task.loss))(
        params, jax.tree.map(lambda leaf: leaf[:32], task.parts()[0])
    )
    assert grads["kernel"].size > 2000
    assert 0 < np.mean(grads["kernel"] != 0) < 0.5


def test_character_windows_hold_the_text():
    letters = ["abcdefghijklmnopqrstuvwxyz" * 400]
    pool = text.character_windows(letters * 5)
    x, y = pool.examples
    assert x.shape == (6000, text.CONTEXT)
    assert pool.sizes() == (4800, 600, 600)
    ordinary = np.all(np.diff(np.column_stack([x, y]), axis=1) == 1, axis=1)
    assert ordinary.mean() > 0.5  # all but those that run over z or the end of a text


def test_the_known_optimum_of_the_quadratic_is_its_optimum(key):
    task = synthetic.noisy_quadratic()
    optimum = jnp.zeros(50)
    gradient = jax.jit(jax.grad(task.loss))(optimum, task.parts()[0])
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    test = task.parts()[2]
    assert task.metric(optimum, test) == 0
    np.testing.assert_allclose(
        task.metric(jnp.ones(50), test), 0.5 * synthetic.CURVATURES.sum(), rtol=1e-6
    )


def test_a_poor_start_is_the_good_one_made_small(key):
    made = synthetic.deep_good_init(), synthetic.deep_poor_init()
    good, poor = jax.jit(lambda key: [task.init(key) for task in made])(key)
    np.testing.assert_allclose(0.1 * good["kernels"], poor["kernels"], rtol=1e-6)


def test_without_a_network_a_fetched_task_says_so(monkeypatch):
    from sklearn import datasets

    def fails(**_):
        raise OSError("no route")

    monkeypatch.setattr(datasets, "fetch_openml", fails)
    monkeypatch.setattr(datasets, "fetch_20newsgroups_vectorized", fails)
    for make in (fetched.mnist_mlp, fetched.fashion_mnist_mlp, fetched.newsgroups):
        with pytest.raises(problems.TaskError, match=r"needs a network once"):
            make()


def test_a_fetched_task_uses_what_comes(monkeypatch, key):
    from types import SimpleNamespace

    from scipy import sparse
    from sklearn import datasets

    rng = np.random.default_rng(0)
    images = SimpleNamespace(
        data=rng.integers(256, size=(50, 784)).astype(float), target=np.array(["3"] * 50)
    )
    counts = sparse.random(50, 30, 0.2, format="csr", random_state=0)
    news = SimpleNamespace(data=counts, target=rng.integers(20, size=50))
    monkeypatch.setattr(datasets, "fetch_openml", lambda **_: images)
    monkeypatch.setattr(datasets, "fetch_20newsgroups_vectorized", lambda **_: news)
    for make in (fetched.mnist_mlp, fetched.newsgroups):
        task = make()
        params = jax.eval_shape(task.init, key)
        assert jax.eval_shape(task.loss, params, task.parts()[0]).shape == ()


MINE = """
import numpy as np
from lecture_opt.compare import Task, split
x = np.linspace(-1, 1, 100, dtype=np.float32)[:, None]
loss = lambda params, part: ((part[0][:, 0] * params - part[1]) ** 2).mean()
mine = Task("mine", lambda key: np.float32(0), loss, loss, split(x, 3 * x[:, 0]))
def made(): return mine
def broken(): raise RuntimeError("no data")
number = 3
"""


def test_your_own_task_is_found_in_a_file(tmp_path):
    path = tmp_path / "tasks_of_mine.py"
    path.write_text(MINE)
    assert problems.load(f"{path}:mine").name == "mine"
    assert problems.load(f"{path}:made").name == "mine"
    with pytest.raises(problems.TaskError, match="raised RuntimeError: no data"):
        problems.load(f"{path}:broken")
    with pytest.raises(problems.TaskError, match="is a int; wanted"):
        problems.load(f"{path}:number")
    with pytest.raises(problems.TaskError, match="given twice"):
        problems.load_all([f"{path}:mine", f"{path}:made"])


def test_a_task_takes_no_arguments():
    with pytest.raises(ValueError, match=r"wanted path/to/file\.py:NAME"):
        problems.load("my_file.py:mine(a=1)")


def test_unknown_names_are_told_the_known():
    with pytest.raises(problems.TaskError, match="there are digits-mlp"):
        problems.load("mnist")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ((np.ones(3), np.ones(3)), "tuple"),
        ((np.ones(3), np.ones(0), np.ones(3)), "validation must be"),
        (((np.ones(3), np.ones(4)), np.ones(3), np.ones(3)), "train must be"),
        ((np.ones(3), np.ones(3), 1.0), "test must be"),
    ],
)
def test_data_without_sense_are_refused(data, says):
    with pytest.raises(problems.TaskError, match=says):
        problems.Task("bad", None, None, None, data)
