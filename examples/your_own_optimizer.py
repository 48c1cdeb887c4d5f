"""Your own optimizer, compared with optax's on the breast cancer data.

The same from the shell, with this file:

    lecture-opt compare --optimizer examples/your_own_optimizer.py:signed_momentum \\
        --optimizer optax:adam
"""

import jax
import jax.numpy as jnp
import optax

from lecture_opt import compare, specs


def signed_momentum(learning_rate, momentum=0.9):
    """Steps of one size, in the direction of the sign of the decaying mean of the gradients."""

    def init(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(grads, mean, params=None):
        mean = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, mean, grads)
        return jax.tree.map(lambda m: -learning_rate * jnp.sign(m), mean), mean

    return optax.GradientTransformation(init, update)


if __name__ == "__main__":
    results = compare.run(
        compare.load_tasks(["cancer-logistic"]),
        [specs.parse(f"{__file__}:signed_momentum"), specs.parse("optax:adam")],
        compare.Protocol(steps=200, draws=8, evaluations=20),
    )
    for cell in results["tasks"][0]["cells"]:
        mean, low, high = (cell["test"][name] for name in ("mean", "low", "high"))
        print(f"{cell['optimizer']}: accuracy {mean:.3f} ({low:.3f} to {high:.3f})")
    print(*results["verdicts"], sep="\n")
