"""What the lecture claims about its optimizers, tested: each claim with its numbers and intervals.

    python examples/lecture_claims.py                 a minute
    python examples/lecture_claims.py --full          more steps and tuning, several minutes
    python examples/lecture_claims.py --output DIR    also a figure, and each claim's results

Each optimizer is tuned on some seeds and reported on others; differences are paired by seed. Two
optimizers are alike only if the whole interval of their difference lies within the margin. A claim
ends with "agree", "disagree" or "undecided".
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lecture_opt import compare, specs
from lecture_opt.compare.results.statistics import paired

SEEDS = {False: 10, True: 30}
MARGIN = 0.01  # one point of accuracy
LATE = 10**6


def surface(name, function, start, description, *, logarithmic=False):
    """A test surface as a task: params are a point, seeds draw the start, and there are no data."""

    def init(key):
        return start(jax.random.normal(key, (2,)))

    def loss(params, part):
        return function(params[0], params[1]) + 0 * part.sum()

    def metric(params, part):
        return jnp.log10(loss(params, part) + 1e-12) if logarithmic else loss(params, part)

    nothing = np.zeros(32, np.float32)
    unit = "log10 of the height" if logarithmic else "height"
    return compare.Task(name, init, loss, metric, (nothing,) * 3, unit, False, description)


SADDLE = surface(
    "saddle",
    lambda x, y: 0.5 * x**2 - 0.01 * y**2 + 0.0025 * y**4,
    lambda noise: jnp.array([1.0, 0.0]) + noise * jnp.array([0.1, 1e-3]),
    "A saddle between two basins, left along a direction a fiftieth as curved as the other.",
)
ROSENBROCK = surface(
    "rosenbrock",
    lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    lambda noise: jnp.array([-1.2, 1.0]) + 0.1 * noise,
    "Rosenbrock's valley: steep walls first, then a long, gently sloping bend.",
    logarithmic=True,
)


def run(tasks, names, *, steps, full, target=None, margin=MARGIN):
    """The tasks compared: `names` of the lecture's optimizers, the first one the baseline."""
    protocol = compare.Protocol(
        steps=steps,
        evaluations=50,
        draws=16 if full else 10,
        seeds=SEEDS[full],
        tuning_seed_count=10 if full else 2,
        baseline=f"lecture:{names[0]}",
        target=target,
        margin=margin,
    )
    return compare.run(tasks, [specs.parse(f"lecture:{name}") for name in names], protocol)


def cells(study, task=0):
    return {cell.optimizer.partition(":")[2]: cell for cell in study.tasks[task].cells}


def told(cell, *words):
    return cell.gain.verdict in words


def steps(cell):
    """The median of the steps to the target with its interval, in words."""
    found = cell.steps_to_target
    if not np.isfinite(found.median):
        runs = len(found.values)
        return f"more steps than there are in {runs - found.reached} of {runs} runs"
    ends = [f"{end:.0f}" if np.isfinite(end) else "never" for end in (found.low, found.high)]
    return f"{found.median:.0f} steps ({ends[0]} to {ends[1]})"


def sooner(first, second):
    """Whether the first reaches the target in fewer steps: the exact test, paired by seed.

    A run that never does counts as later than any.
    """

    def counted(cell):
        values = cell.steps_to_target.values
        return np.where(np.isfinite(values), values, LATE)

    difference = counted(second) - counted(first)
    return difference.mean() > 0 and paired.permutation_p(difference) <= 0.05


def adaptive_alike(full):
    """The adaptive methods differ little among themselves."""
    tasks = compare.load_tasks(["digits-mlp", "cancer-logistic"])
    results = run(tasks, ["adam", "rmsprop", "adagrad"], steps=1000 if full else 200, full=full)
    others = [cells(results, i)[name] for i in range(2) for name in ("rmsprop", "adagrad")]
    if all(told(cell, "equivalent") for cell in others):
        word = "agree"
    else:
        word = "disagree" if any(told(cell, "better", "worse") for cell in others) else "undecided"
    return results, word, [cell.gain.sentence for cell in others]


def sgd_later(full):
    """With a good initialisation SGD reaches similar minima, later; with a poor one it does not."""
    tasks = compare.load_tasks(["deep-good-init", "deep-poor-init"])
    results = run(tasks, ["adam", "sgd"], steps=1000 if full else 200, full=full)
    good, poor = cells(results, 0), cells(results, 1)
    there, later = told(good["sgd"], "equivalent", "better"), sooner(good["adam"], good["sgd"])
    lines = [
        good["sgd"].gain.sentence,
        f"deep-good-init: adam reaches the target after {steps(good['adam'])}, "
        f"SGD after {steps(good['sgd'])}.",
        poor["sgd"].gain.sentence,
    ]
    if told(good["sgd"], "worse") or told(poor["sgd"], "equivalent", "better"):
        return results, "disagree", lines
    return results, "agree" if there and later else "undecided", lines


def sparse_features(full):
    """On sparse features the adaptive methods win."""
    tasks = compare.load_tasks(["text-bag-of-words"])
    names = ["sgd", "momentum", "adagrad", "rmsprop", "adam"]
    results = run(tasks, names, steps=400 if full else 100, full=full)
    by_name = cells(results)
    adaptive = [by_name[name] for name in names[2:]]
    won = [told(cell, "better") or sooner(cell, by_name["sgd"]) for cell in adaptive]
    lines = [by_name[name].gain.sentence for name in names[1:]]
    lines += [f"{name} reaches the target after {steps(by_name[name])}." for name in names]
    lost = [told(cell, "worse") or sooner(by_name["sgd"], cell) for cell in adaptive]
    return results, "agree" if all(won) else "disagree" if any(lost) else "undecided", lines


def adagrad_stalls(full):
    """AdaGrad, which sums over all the past, stalls where RMSprop goes on."""
    steps = 20_000 if full else 2_000
    results = run([ROSENBROCK], ["adagrad", "rmsprop"], steps=steps, full=full, margin=np.log10(2))
    rmsprop = cells(results)["rmsprop"]
    word = {"better": "agree", "worse": "disagree"}.get(rmsprop.gain.verdict, "undecided")
    return results, word, [rmsprop.gain.sentence]


def momentum_escapes(full):
    """Momentum escapes the saddle where SGD lingers."""
    results = run([SADDLE], ["sgd", "momentum"], steps=1000, full=full, target=-0.009)
    by_name = cells(results)
    lines = [f"{name} has left after {steps(by_name[name])}." for name in ("sgd", "momentum")]
    if sooner(by_name["momentum"], by_name["sgd"]):
        return results, "agree", lines
    return (
        results,
        "disagree" if sooner(by_name["sgd"], by_name["momentum"]) else "undecided",
        lines,
    )


CLAIMS = (adaptive_alike, sgd_later, sparse_features, adagrad_stalls, momentum_escapes)


def draw(all_results, path):
    """A panel for each task: the losses' medians and quartiles against steps."""
    from matplotlib.figure import Figure

    tasks = [task for study in all_results for task in study.tasks]
    figure = Figure(figsize=(4 * len(tasks), 3.5), layout="constrained")
    for ax, task in zip(figure.subplots(1, len(tasks)), tasks, strict=True):
        for cell in sorted(task.cells, key=lambda cell: cell.optimizer):
            loss = cell.loss
            ax.plot(task.steps, loss.median, label=cell.optimizer.partition(":")[2])
            ax.fill_between(task.steps, loss.low, loss.high, alpha=0.15)
        positive = min(np.nanmin(cell.loss.low) for cell in task.cells) > 0
        scale = "log" if positive else "linear"
        ax.set(title=task.name, xlabel="step", ylabel="training loss", yscale=scale)
        ax.legend(frameon=False)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="more steps and tuning")
    parser.add_argument("--output", type=Path, help="folder for a figure and the results")
    args = parser.parse_args()
    all_results = []
    for claim in CLAIMS:
        results, word, lines = claim(args.full)
        all_results.append(results)
        print(claim.__doc__)
        for line in lines:
            print(f"    {line}")
        print(f"    The data {word}.\n" if word != "undecided" else "    Undecided.\n", flush=True)
        if args.output:
            args.output.mkdir(parents=True, exist_ok=True)
            compare.write(results, args.output / f"{claim.__name__}.json")
    if args.output:
        draw(all_results, args.output / "lecture_claims.svg")


if __name__ == "__main__":
    main()
