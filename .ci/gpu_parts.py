"""What .ci/gpu runs beside the tests and the commands: `python gpu_parts.py PART`.

Two problems for `compare` are here, too: a convolution on images and a small transformer on text.
"""

import functools
import importlib.metadata
import re
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import lecture_opt as lo
from lecture_opt import bench, equals, specs
from lecture_opt.bench import measure, torch_side
from lecture_opt.problems import Task, split

SMALL = jax.default_backend() == "cpu"


def versions():
    """Prints what is there."""
    for name in ("jax", "optax", "flax", "torch"):
        try:
            print(name, importlib.metadata.version(name), end="; ")
        except importlib.metadata.PackageNotFoundError:
            print(f"{name} is missing", end="; ")
    print(jax.default_backend(), jax.devices()[0].device_kind)


def walk(text, grads, device):
    """The params after steps along the gradients, on a device."""
    optimizer = specs.build(specs.parse(text), learning_rate=0.01)

    def step(carry, grad):
        params, state = carry
        updates, state = optimizer.update(grad, state, params)
        return (optax.apply_updates(params, updates), state), None

    with jax.default_device(device):
        params = jnp.ones(grads.shape[1:])
        start = (params, optimizer.init(params))
        return np.asarray(jax.jit(lambda g: jax.lax.scan(step, start, g)[0][0])(grads))


def agreement():
    """Compares each optimizer with its optax equal here, and with itself on the CPU."""
    grads = np.random.default_rng(0).normal(size=(50, 257, 33)).astype(np.float32)
    here, cpu = jax.devices()[0], jax.devices("cpu")[0]
    for pair in equals.PAIRS:
        ours = walk(pair.lecture, grads, here)
        path = np.abs(ours - 1).max()
        gaps = [
            np.abs(ours - other).max() / path
            for other in (walk(pair.exact, grads, here), walk(pair.lecture, grads, cpu))
        ]
        word = "agrees" if max(gaps) < 100 * np.finfo(np.float32).eps else "WRONG"
        print(f"{word}: {pair.name}, optax here {gaps[0]:.1e}, the CPU {gaps[1]:.1e} of the path")


def kernels():
    """Counts the kernels of a step, and times steps that follow one another without a wait."""
    trees = bench.trees(quick=SMALL)
    for name in ("large", "leaves-400", "transformer", "bfloat16"):
        params = trees[name].make()
        for text in ("lecture:adam", "optax:adam", "lecture:momentum"):
            optimizer = specs.build(specs.parse(text), learning_rate=1e-3)
            state = optimizer.init(params)
            began = time.perf_counter()
            compiled = measure.jitted_step(optimizer).lower(params, state, params).compile()
            took = time.perf_counter() - began
            entry = compiled.as_text().partition("\nENTRY")[2]
            count = {op: len(re.findall(rf" {op}\(", entry)) for op in ("fusion", "copy")}
            carry = jax.tree.map(jnp.copy, (params, state))
            seconds = per_step(functools.partial(following, compiled, params), carry)
            moved = measure.step_bytes(params, state, compiled).moved
            print(
                f"kernels: {trees[name].name} {text}: {count['fusion']} fusions, "
                f"{count['copy']} copies; compiled in {took:.2f} s; step {1e3 * seconds:.3f} ms, "
                f"{moved / seconds / 1e9:.0f} GB/s of the bytes that must move"
            )
        if torch_side.installed():
            subject = torch_side.prepare("Adam", params)
            seconds = per_step(lambda _, subject=subject: subject.step(), None)
            print(f"kernels: {trees[name].name} {subject.name}: step {1e3 * seconds:.3f} ms")


def following(compiled, grads, carry):
    """The (params, state) after one more step."""
    return compiled(*carry, grads)


def per_step(step, carry, count=30):
    """Seconds per step, of which none waits for the one before; the least of three rounds."""
    carry, best = step(carry), float("inf")
    for _ in range(3):
        jax.block_until_ready(carry)
        began = time.perf_counter()
        for _ in range(count):
            carry = step(carry)
        jax.block_until_ready(carry)
        best = min(best, (time.perf_counter() - began) / count)
    return best


def _images():
    """(images, labels): bars at a random place, upright or lying, in noise; no file is needed."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2_000)
    images = rng.normal(0, 1, (2_000, 16, 16, 1)).astype(np.float32)
    for image, label, place in zip(images, labels, rng.integers(0, 16, 2_000), strict=True):
        (image if label else image.swapaxes(0, 1))[place] += 1.0
    return images, labels


def _convolution(params, images):
    hidden = images
    for kernel in params["kernels"]:
        dimensions = ("NHWC", "HWIO", "NHWC")
        hidden = jax.lax.conv_general_dilated(
            hidden, kernel, (2, 2), "SAME", dimension_numbers=dimensions
        )
        hidden = jax.nn.relu(hidden)
    return hidden.mean(axis=(1, 2)) @ params["out"]


def _start_convolution(key):
    keys = jax.random.split(key, 4)
    shapes = ((3, 3, 1, 16), (3, 3, 16, 32), (3, 3, 32, 32))
    kernels = [
        jax.random.normal(k, shape) * np.sqrt(2 / np.prod(shape[:3])).astype(np.float32)
        for k, shape in zip(keys[:3], shapes, strict=True)
    ]
    return {"kernels": kernels, "out": jax.random.normal(keys[3], (32, 2)) * 0.1}


def _accuracy(apply):
    return lambda params, part: jnp.mean(apply(params, part[0]).argmax(-1) == part[1])


def _loss(apply):
    return lambda params, part: lo.softmax_cross_entropy(apply(params, part[0]), part[1])


convolution = Task(
    "convolution",
    _start_convolution,
    _loss(_convolution),
    _accuracy(_convolution),
    split(*_images()),
    metric_name="accuracy",
    higher_is_better=True,
)

WIDTH, LENGTH, LETTERS = 32, 24, 8


def _texts():
    """(letters, letters reversed): a task that needs attention."""
    letters = np.random.default_rng(0).integers(0, LETTERS, (2_000, LENGTH))
    return letters, letters[:, ::-1].copy()


def _transformer(params, letters):
    hidden = params["letters"][letters] + params["places"][None]
    for block in params["blocks"]:
        q, k, v = (hidden @ block[name] for name in "qkv")
        weights = jax.nn.softmax(q @ k.swapaxes(-1, -2) / np.float32(np.sqrt(WIDTH)))
        hidden = hidden + weights @ v
        hidden = hidden + jax.nn.relu(hidden @ block["up"]) @ block["down"]
    return hidden @ params["out"]


def _start_transformer(key):
    def drawn(*shape):
        nonlocal key
        key, own = jax.random.split(key)
        return jax.random.normal(own, shape) / np.float32(np.sqrt(shape[0]))

    block = {**dict.fromkeys("qkv", (WIDTH, WIDTH)), "up": (WIDTH, 64), "down": (64, WIDTH)}
    return {
        "letters": drawn(LETTERS, WIDTH),
        "places": drawn(LENGTH, WIDTH),
        "blocks": [{name: drawn(*shape) for name, shape in block.items()} for _ in range(2)],
        "out": drawn(WIDTH, LETTERS),
    }


transformer = Task(
    "transformer",
    _start_transformer,
    _loss(_transformer),
    _accuracy(_transformer),
    split(*_texts(), standardise=False),
    metric_name="accuracy",
    higher_is_better=True,
)

if __name__ == "__main__":
    {"versions": versions, "agreement": agreement, "kernels": kernels}[sys.argv[1]]()
