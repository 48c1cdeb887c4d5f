"""Your own optimizer, compared with optax's on the breast cancer data.

The same from the shell, with this file:

    lecture-opt compare --optimizer examples/your_own_optimizer.py:signed_momentum
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
        compare.protocol(quick=True),
    )
    for cell in results["tasks"][0]["optimizers"]:
        print(f"{cell['optimizer']}: accuracy {cell['test_mean']:.3f} {cell['test_interval']}")
