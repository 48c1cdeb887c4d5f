# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---
# %% [markdown]
# # Your own optimizer, from idea to verdict
#
# The idea: keep the decaying mean of the gradients, and step by its sign alone. Is it correct, and
# is it any good, and what does it cost? The same questions from the shell, with this file:
#
#     lecture-opt check examples/your_own_optimizer.py:signed_momentum
#     lecture-opt compare --optimizer examples/your_own_optimizer.py:signed_momentum \
#         --optimizer optax:adam
#     lecture-opt bench examples/your_own_optimizer.py:signed_momentum

# %%
import jax
import jax.numpy as jnp
import optax

from lecture_opt import bench, check, compare, specs

# %% [markdown]
# ## The idea
#
# A first version, with a slip that is easily made: the mean is never given back, so every step
# starts from zero again.


# %%
def first_version(learning_rate=0.001, momentum=0.9):
    def init(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(grads, mean, params=None):
        new = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, mean, grads)
        return jax.tree.map(lambda m: -learning_rate * jnp.sign(m), new), mean

    return optax.GradientTransformation(init, update)


# %%
def signed_momentum(learning_rate=0.001, momentum=0.9):
    """Steps of one size, in the direction of the sign of the decaying mean of the gradients."""

    def init(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(grads, mean, params=None):
        mean = jax.tree.map(lambda m, g: momentum * m + (1 - momentum) * g, mean, grads)
        return jax.tree.map(lambda m: -learning_rate * jnp.sign(m), mean), mean

    return optax.GradientTransformation(init, update)


# %% [markdown]
# ## Check
#
# A few of the families of properties, to be quick; leave out `only` to ask about all.

# %%
if __name__ == "__main__":
    for optimizer in (first_version, signed_momentum):
        report = check.run(optimizer, only=["interface", "state", "purity", "identity"])
        print(f"{optimizer.__name__}: {report.counts()}")
        if not report.ok:
            print(report.failures_in_words())

# %% [markdown]
# ## Compare
#
# Each optimizer has its learning rate tuned on some seeds and is reported on others; the verdict
# says how sure it is.

# %%
if __name__ == "__main__":
    here = globals().get("__file__", "your_own_optimizer.py")  # a notebook has no __file__
    study = compare.run(
        compare.load_tasks(["cancer-logistic"]),
        [specs.parse(f"{here}:signed_momentum"), specs.parse("optax:adam")],
        compare.Protocol(steps=200, draws=8, evaluations=20),
    )
    for cell in study.tasks[0].cells:
        test = cell.test
        print(f"{cell.optimizer}: accuracy {test.mean:.3f} ({test.low:.3f} to {test.high:.3f})")
    print(*study.verdicts, sep="\n")

# %% [markdown]
# ## Bench
#
# What a compiled step costs, beside optax's Adam in the same run: one state array in place of two.

# %%
if __name__ == "__main__":
    costs = bench.run(
        bench.optimizers(f"{here}:signed_momentum", ["optax:adam"]),
        [bench.trees(quick=True)["large"]],
        rounds=10,
        slow_rounds=1,
        torch=False,
    ).trees[0]
    print(f"a step of {costs.parameters:,} parameters:")
    for cell in costs.cells:
        median, low, high = (1e3 * seconds for seconds in cell.seconds["step"])
        print(f"{cell.optimizer}: {median:.2f} ms ({low:.2f} to {high:.2f})")
