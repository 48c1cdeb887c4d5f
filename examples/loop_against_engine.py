"""How long the default comparison would take as a Python loop over a jitted optax step.

Times one training of 400 steps in the plain loop that one would write, and a cell of 160 trainings
in the engine, for some tasks; the whole is 11,520 trainings.
"""

import argparse
import time

import jax
import numpy as np
import optax

from lecture_opt import compare
from lecture_opt.compare.runs import engine

STEPS, TRAININGS, DRAWS, SEEDS = 400, 11_520, 16, 10


def loop(task, start):
    """Seconds of one training, without the compile, evaluated as often as the engine does."""
    optimizer = optax.adam(0.01)

    @jax.jit
    def step(params, state, batch):
        loss, grads = jax.value_and_grad(task.loss)(params, batch)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    metric = jax.jit(task.metric)

    def train():
        params = jax.tree.map(lambda leaf: leaf[0], start.params)
        state = optimizer.init(params)
        for number, rows in enumerate(start.rows[0].reshape(STEPS, -1), start=1):
            batch = jax.tree.map(lambda leaf, rows=rows: leaf[rows], task.train)
            params, state, _ = step(params, state, batch)
            if number % 20 == 0:
                float(metric(params, task.validation))

    train()  # compiles
    began = time.perf_counter()
    train()
    return time.perf_counter() - began


def cell(task, start):
    """Seconds of one training in the engine, its share of trace and compile included."""
    began = time.perf_counter()
    program = engine.build(task, optax.adam, ["learning_rate"], start, runs=20)
    rates = np.tile(np.geomspace(1e-4, 10, DRAWS), SEEDS)
    engine.train(program, task, start, {"learning_rate": rates}, np.repeat(np.arange(SEEDS), DRAWS))
    return (time.perf_counter() - began) / (DRAWS * SEEDS)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--task", action="append", help="repeatable; default: cancer-logistic")
    args = parser.parse_args()
    loops, cells = [], []
    for task in compare.load_tasks(args.task or ["cancer-logistic"]):
        start = engine.prepare(
            task, seeds=range(SEEDS), steps=STEPS, batch_size=32, evaluations=STEPS // 20
        )
        loops.append(loop(task, start))
        cells.append(cell(task, start))
        print(
            f"{task.name}: a training takes {1e3 * loops[-1]:.0f} ms in the loop and "
            f"{1e3 * cells[-1]:.1f} ms in the engine, compile included; the ratio is "
            f"{loops[-1] / cells[-1]:.1f}."
        )
    hours = TRAININGS * np.mean(loops) / 3600
    print(f"{TRAININGS:,} trainings in the loop, compiles not counted: {hours:.1f} hours.")


if __name__ == "__main__":
    main()
