"""Accelerators: everything lowers for them from here, and `-m gpu` is what to run on one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import lecture_opt as lo
from lecture_opt.training import batches, sharding
from lecture_opt.training.programs import kept
from lecture_opt.training.steps import Carry, Static, build

PLATFORMS = ("cuda", "rocm", "tpu")
SIX = (lo.sgd, lo.momentum, lo.nesterov, lo.adagrad, lo.rmsprop, lo.adam)
LOGITS, CLASSES = jnp.ones((4, 3)), jnp.arange(4) % 3
PROBS, MASK = jnp.full((4, 3), 1 / 3), jnp.ones((4, 3), bool)
LOSSES = {
    "categorical_cross_entropy": (lo.categorical_cross_entropy, PROBS, CLASSES),
    "softmax_cross_entropy": (lo.softmax_cross_entropy, LOGITS, CLASSES),
    "binary_cross_entropy": (lo.binary_cross_entropy, PROBS, MASK),
    "sigmoid_cross_entropy": (lo.sigmoid_cross_entropy, LOGITS, MASK),
    "mean_squared_error": (lo.mean_squared_error, LOGITS, PROBS),
    "mean_absolute_error": (lo.mean_absolute_error, LOGITS, PROBS),
    "gaussian_nll": (lo.gaussian_nll, LOGITS, PROBS),
    "l2_penalty": (lambda w, _: lo.l2_penalty(w), LOGITS, None),
    "log_likelihood": (lambda p, y: lo.log_likelihood("normal", p, y), LOGITS, PROBS),
}

needs_gpu = pytest.mark.skipif(
    jax.default_backend() != "gpu", reason=f"needs a GPU; jax runs on {jax.default_backend()}"
)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_and_its_gradient_lower(name, dtype):
    loss, predictions, targets = LOSSES[name]
    if targets is not None and jnp.issubdtype(targets.dtype, jnp.floating):
        targets = targets.astype(dtype)
    program = jax.jit(jax.value_and_grad(lambda p: loss(p, targets)))
    exported = export.export(program, platforms=PLATFORMS)(predictions.astype(dtype))
    assert set(exported.platforms) == set(PLATFORMS)


def problem(make):
    model = lo.mlp([6, 8, 3], activation=lo.relu)

    def loss_fn(params, batch):
        return lo.softmax_cross_entropy(model.apply(params, batch[0]), batch[1])

    rng = np.random.default_rng(0)
    data = rng.normal(size=(32, 6)).astype(np.float32), rng.integers(0, 3, 32).astype(np.int32)
    return loss_fn, model.init(jax.random.key(0)), make(), data


@pytest.mark.parametrize("make", SIX, ids=lambda make: make.__name__)
def test_the_step_of_fit_lowers(make):
    loss_fn, params, optimizer, data = problem(make)
    source = batches.source(data, 8, jax.random.key(1), 0)
    carry = Carry(params, optimizer.init(params), batches.start(source, step=0))
    static = Static(8, has_aux=False, where=sharding.placement(carry, source.data)), 10
    chunk = kept(build, loss_fn, optimizer.update, None).chunk
    run = jax.jit(lambda *arguments: chunk(*arguments, *static))
    program = export.export(run, platforms=PLATFORMS)
    exported = program(carry, source.data, source.key)
    assert exported.out_avals[-1].shape == (10,)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("make", SIX, ids=lambda make: make.__name__)
def test_fit_on_a_gpu_gives_the_losses_of_the_cpu(make):
    loss_fn, params, optimizer, data = problem(make)

    def losses(device):
        with jax.default_device(device), jax.default_matmul_precision("highest"):
            here = jax.device_put((params, data), device)
            result = lo.fit(loss_fn, here[0], optimizer, here[1], steps=20, batch_size=8,
                            key=jax.random.key(1))  # fmt: skip
        return result.losses

    ours, wanted = losses(jax.devices("gpu")[0]), losses(jax.devices("cpu")[0])
    np.testing.assert_allclose(ours, wanted, rtol=20 * 20 * np.finfo(np.float32).eps)


@pytest.mark.gpu
@needs_gpu
def test_a_run_on_a_gpu_resumes(tmp_path):
    pytest.importorskip("orbax.checkpoint")
    loss_fn, params, optimizer, data = problem(lo.adam)

    def run(steps, checkpoint=None):
        return lo.fit(loss_fn, params, optimizer, data, steps=steps, batch_size=8,
                      key=jax.random.key(1), checkpoint=checkpoint)  # fmt: skip

    run(10, tmp_path)
    np.testing.assert_allclose(
        run(20, tmp_path).losses, run(20).losses, rtol=20 * 20 * np.finfo(np.float32).eps
    )


@pytest.mark.gpu
@pytest.mark.skipif(
    jax.default_backend() != "gpu" or jax.device_count() < 2, reason="needs two GPUs or more"
)
def test_layouts_over_gpus_train_alike():
    loss_fn, params, optimizer, data = problem(lo.adam)
    mesh = jax.make_mesh((jax.device_count(),), ("devices",))
    cut = jax.tree.map(lambda leaf: leaf[: 32 - 32 % mesh.size], data)

    def losses(params, optimizer, data):
        with jax.default_matmul_precision("highest"):
            return lo.fit(loss_fn, params, optimizer, data, steps=20, batch_size=mesh.size,
                          key=jax.random.key(1)).losses  # fmt: skip

    alone, tolerance = losses(params, optimizer, cut), 20 * 20 * np.finfo(np.float32).eps
    over = lo.shard_data(cut, mesh)
    for ours in (
        losses(params, optimizer, over),
        losses(params, lo.zero1(optimizer, mesh), over),
        losses(lo.shard_params(params, mesh), optimizer, over),
    ):
        np.testing.assert_allclose(ours, alone, rtol=tolerance)
