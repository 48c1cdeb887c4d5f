"""One optimizer under many names, through the whole tool: nothing is to be told apart."""

import pytest

from lecture_opt import compare, specs

UNITS = """
import jax, optax
def in_unit(factor):
    return lambda learning_rate: optax.adam(factor * learning_rate)
def noisy(seed):
    def make(learning_rate):
        def update(updates, state, params=None):
            key, now = jax.random.split(state)
            leaves, tree = jax.tree.flatten(updates)
            keys = jax.random.split(now, len(leaves))
            scaled = [x * (1 + 0.3 * jax.random.normal(k, x.shape)) for x, k in zip(leaves, keys)]
            return jax.tree.unflatten(tree, scaled), key
        noise = optax.GradientTransformation(lambda params: jax.random.PRNGKey(seed), update)
        return optax.chain(optax.adam(learning_rate), noise)
    return make
for i, factor in enumerate((0.55, 0.8, 1.2, 1.47, 1.9)):
    globals()[f"unit{i}"] = in_unit(factor)
for i in range(3):
    globals()[f"noise{i}"] = noisy(i)
"""


@pytest.mark.slow
@pytest.mark.parametrize("candidates", [1, 8])
def test_adam_in_other_units_and_with_noise_is_not_told_from_adam(candidates, tmp_path):
    """As at `--quick`: 18 comparisons, of which a rate of 5 % allows one."""
    path = tmp_path / "units.py"
    path.write_text(UNITS)
    names = [f"unit{i}" for i in range(5)] + [f"noise{i}" for i in range(3)]
    texts = ["optax:adam", *(f"{path}:{name}" for name in names[-candidates:])]
    told = 0
    for first in (0, 1000):
        protocol = compare.Protocol(
            steps=100, evaluations=10, draws=8, tuning_seed_count=5, first_seed=first
        )
        optimizers = [specs.parse(text) for text in texts]
        study = compare.run(compare.load_tasks(["cancer-logistic"]), optimizers, protocol)
        gains = [cell.gain for cell in study.tasks[0].cells if cell.gain is not None]
        told += sum(gain.verdict in ("better", "worse") for gain in gains)
    assert told <= 1
