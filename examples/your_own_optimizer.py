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
# The idea: keep a decaying mean of the gradients, and step in the direction of its sign. Is this
# optimizer correct, is it any good, and what does it cost? From the shell you ask the same with:
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
# The first version contains a bug that happens easily: it never returns the new mean, so every step
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
# To be quick, this asks four families of properties. Leave out `only` to ask them all.

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
# Each optimizer's learning rate is tuned on some seeds, and other seeds report it. The verdict says
# how sure it is.

# %%
if __name__ == "__main__":
    study = compare.run(
        compare.load_tasks(["cancer-logistic"]),
        [specs.parse("__main__:signed_momentum"), specs.parse("optax:adam")],
        compare.Protocol(steps=200, draws=8, evaluations=20),
    )
    for cell in study.tasks[0].cells:
        test = cell.test
        print(f"{cell.optimizer}: accuracy {test.mean:.3f} ({test.low:.3f} to {test.high:.3f})")
    print(*study.verdicts, sep="\n")

# %% [markdown]
# ## Bench
#
# This measures a compiled step beside optax's Adam, in the same run. Adam keeps two arrays of state
# for each parameter, and this optimizer keeps one.

# %%
if __name__ == "__main__":
    costs = bench.run(
        bench.optimizers("__main__:signed_momentum", ["optax:adam"]),
        [bench.trees(quick=True)["large"]],
        rounds=10,
        slow_rounds=1,
        torch=False,
    ).trees[0]
    print(f"a step of {costs.parameters:,} parameters:")
    for cell in costs.cells:
        median, low, high = (1e3 * seconds for seconds in cell.seconds["step"])
        print(f"{cell.optimizer}: {median:.2f} ms ({low:.2f} to {high:.2f})")
