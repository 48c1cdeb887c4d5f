"""How long the default comparison would take as a Python loop around a jitted optax step.

Times one training of 400 steps in the plain loop that one would write, and 170 trainings of a
comparison, for some tasks. The default comparison tunes with 11,520 trainings.
"""

import argparse
import time

import jax
import numpy as np
import optax

from lecture_opt import compare, specs

STEPS, EVALUATIONS, BATCH = 400, 20, 32
TRAININGS, DRAWS, SEEDS = 11_520, 16, 10


def loop(task):
    """Seconds of one training without the compilation, evaluated as often as the comparison."""
    optimizer = optax.adam(0.01)
    train, validation, _ = task.parts()

    @jax.jit
    def step(params, state, batch):
        loss, grads = jax.value_and_grad(task.loss)(params, batch)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    metric = jax.jit(task.metric)

    def training():
        rng = np.random.default_rng(0)
        params = task.init(jax.random.key(0))
        state = optimizer.init(params)
        for number in range(1, STEPS + 1):
            rows = rng.integers(len(jax.tree.leaves(train)[0]), size=BATCH)
            batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], train)
            params, state, _ = step(params, state, batch)
            if number % (STEPS // EVALUATIONS) == 0:
                float(metric(params, validation))

    training()  # compiles
    began = time.perf_counter()
    training()
    return time.perf_counter() - began


def engine(task):
    """Seconds of one training in a comparison, its share of the compilation included."""
    protocol = compare.Protocol(
        steps=STEPS, evaluations=EVALUATIONS, batch_size=BATCH, draws=DRAWS, seeds=SEEDS
    )
    began = time.perf_counter()
    compare.run([task], [specs.parse("optax:adam")], protocol)
    return (time.perf_counter() - began) / (DRAWS * SEEDS + SEEDS)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", action="append", help="repeatable; default: cancer-logistic")
    args = parser.parse_args()
    loops = []
    for task in compare.load_tasks(args.task or ["cancer-logistic"]):
        loops.append(loop(task))
        seconds = engine(task)
        print(
            f"{task.name}: a training takes {1e3 * loops[-1]:.0f} ms in the loop and "
            f"{1e3 * seconds:.1f} ms in the comparison, compilation included; the ratio is "
            f"{loops[-1] / seconds:.1f}."
        )
    hours = TRAININGS * np.mean(loops) / 3600
    print(f"{TRAININGS:,} trainings in the loop, compilation not counted: {hours:.1f} hours.")


if __name__ == "__main__":
    main()
