"""Is the engine of `compare`, or `fit`, ever slower than the plain loop that a user would write?

Prints the time of a training step, with the evaluations and without the compilation: in a loop of
Python over a jitted step, in the engine (for one run, of as many as it trains at once), and in
`fit`. They take turns, and the least of several rounds counts. Where other programs use the
machine, `--cpu` counts the seconds of the processor instead of those of the clock. Behind the
engine's time stands how near it comes to the rate of a large product of matrices.

    python examples/loop_against_engine.py --all
"""

import argparse
import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import lecture_opt as lo
from lecture_opt import compare, specs
from lecture_opt.bench import measure
from lecture_opt.compare.runs import data, engine, entrants, examine, machine
from lecture_opt.environment import lenient
from lecture_opt.problems import TASKS, bound
from lecture_opt.problems import loop as loops
from lecture_opt.problems.tracing import trace_step

RATE = 0.01


def cnn(name, size, channels, widths, batch):
    """A convolutional network on noise, which takes as long as on pictures."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1200, size, size, channels)).astype(np.float32)
    y = rng.integers(10, size=1200).astype(np.int32)
    shapes = [(3, 3, a, b) for a, b in zip((channels, *widths), widths, strict=False)]

    def init(key):
        *keys, last = jax.random.split(key, len(shapes) + 1)
        pairs = zip(keys, shapes, strict=True)
        kernels = [0.1 * jax.random.normal(k, shape) for k, shape in pairs]
        return {"kernels": kernels, "head": 0.1 * jax.random.normal(last, (widths[-1], 10))}

    def loss(params, part):
        x, layout = part[0], ("NHWC", "HWIO", "NHWC")
        for kernel in params["kernels"]:
            x = jax.nn.relu(
                lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=layout)
            )
        return lo.softmax_cross_entropy(x.mean(axis=(1, 2)) @ params["head"], part[1])

    parts = tuple(
        (x[rows], y[rows]) for rows in (slice(1000), slice(1000, 1100), slice(1100, None))
    )
    return compare.Task(name, init, loss, loss, parts, batch_size=batch)


CNNS = {
    "cnn-small": lambda: cnn("cnn-small", 8, 1, (8, 16), 32),
    "cnn-32x32x3": lambda: cnn("cnn-32x32x3", 32, 3, (16, 32, 32), 32),
}


def plain(loop):
    """Trains once in a loop of Python over a jitted step."""

    def make(key):
        return loop.start(optax.with_extra_args_support(optax.adam(RATE)), key)

    batch = loops.sample_batch(loop)
    layout, _ = trace_step(loop, lambda _: make, {}, batch)

    @jax.jit
    def step(arrays, batch, key, number):
        return bound.bind(loop, make, layout).step(arrays, batch, loops.step_key(key, number))

    @jax.jit
    def metric(arrays, part, key):
        return bound.bind(loop, make, layout).metric(arrays, part, key)[0]

    begin = jax.jit(lambda key: bound.initial(make, layout, key))
    evaluated = {0, *loops.evaluated_steps(loop).tolist()}
    validation = [piece.batch for piece in data.pieces(loop.parts(0)[1])]

    def train():
        key = loops.start_key(0)
        arrays = begin(key)
        batches = loops.batches(loop, 0)
        for number in range(loop.steps + 1):
            if number in evaluated:
                for part in validation:
                    float(metric(arrays, part, key))
            if number < loop.steps:
                arrays, _ = step(arrays, next(batches), key, number)
        return arrays

    shapes = jax.eval_shape(begin, jax.random.key(0))
    compiled = step.lower(shapes, batch, jax.random.key(0), 0).compile()
    return train, 1, measure.operations(compiled)


def side_by_side(loop):
    """Trains in the engine, as many runs as it takes at once."""
    settings = [{"learning_rate": RATE}]
    entrant = entrants.look(loop, examine.examine(loop), specs.parse("optax:adam"), settings)
    runs, held = machine.runs_at_once(entrant, [20]), data.prepare(loop)
    program = engine.build(entrant, held, runs=runs)
    rates = {"learning_rate": np.full(runs, RATE)}
    return lambda: engine.train(program, entrant, held, rates, list(range(runs))), runs


def fitted(task, loop):
    """Trains with `fit`, evaluated as often."""
    train, validation, _ = loop.parts(0)
    optimizer, metric = optax.adam(RATE), jax.jit(task.metric)
    params = jax.jit(task.init)(jax.random.key(0))
    part = jax.tree.map(jnp.asarray, train)

    def run():
        return lo.fit(
            task.loss,
            params,
            optimizer,
            part,
            steps=loop.steps,
            batch_size=loop.batch_size,
            key=jax.random.key(1),
            eval_fn=lambda params: metric(params, validation),
            eval_every=loop.steps // loop.evaluations,
        ).params

    return run, 1


def report(problem, steps, rounds, clock, rate):
    """Prints one line; says whether a way took longer than the loop."""
    loop = dataclasses.replace(compare.as_loop(problem), steps=steps, evaluations=2)
    *alone, operations = plain(loop)
    ways = {"loop": alone, "engine": side_by_side(loop)}
    if isinstance(problem, compare.Task) and not loops.takes_key(problem.loss):
        ways["fit"] = fitted(problem, loop)
    least = dict.fromkeys(ways, np.inf)
    for turn in range(rounds + 1):
        for name, (train, runs) in ways.items():
            began = clock()
            jax.block_until_ready(train())
            seconds = (clock() - began) / runs / loop.steps
            least[name] = min(least[name], seconds if turn else np.inf)  # the first compiles
    texts = [f"{name} {1e3 * seconds:.3f}" for name, seconds in least.items()]
    if operations:
        texts[1] += f" ({operations / least['engine'] / rate:.0%} of the matrix rate)"
    slower = [name for name, seconds in least.items() if seconds > 1.05 * least["loop"]]
    verdict = f"{' and '.join(slower)} SLOWER" if slower else "none above the loop's, by over 5 %"
    print(f"{loop.name:18} ms a step: {', '.join(texts)}: {verdict}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", action="append", help="repeatable, as `compare` names it")
    parser.add_argument("--all", action="store_true", help="every shipped task, and both CNNs")
    parser.add_argument("--steps", type=int, default=200, help="of a training; default: 200")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--cpu", action="store_true", help="count the processor's seconds")
    args = parser.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    fetched = ("mnist-mlp", "fashion-mnist-mlp", "newsgroups")
    names = args.task or ["cancer-logistic", "cnn-small"]
    if args.all:
        names = [*(name for name in TASKS if name not in fetched), *CNNS]
    with lenient():
        rate = measure.matrix_rate()
        for name in names:
            problem = CNNS[name]() if name in CNNS else compare.load_tasks([name])[0]
            report(problem, args.steps, args.rounds, clock, rate)


if __name__ == "__main__":
    main()
