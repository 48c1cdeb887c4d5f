"""`check` with a problem: an optimizer on what a loop of the user's trains, and in that loop."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lecture_opt as lo
from lecture_opt import check, cli, compare

X = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]


def init(key):
    low = jnp.zeros(3, jnp.bfloat16)
    return {"w": jax.random.normal(key, (1, 3)), "b": low, "scale": jnp.ones(()), "none": None}


def loss(params, part):
    out = (part @ params["w"] + params["b"].astype(jnp.float32)[None]) * params["scale"]
    return jnp.mean((out - 1) ** 2)


TASK = compare.Task("mine", init, loss, loss, (X, X, X), batch_size=8)


def judged(optimizer, problem=TASK):
    report = check.run(optimizer, problem=problem, only=["problem"])
    return {result.name.partition(".")[2]: result for result in report.results}


def test_a_right_optimizer_passes_on_the_problem():
    found = judged(lo.adam(0.01))
    assert {result.status for result in found.values()} == {"pass"}
    assert "3 leaves that mine trains" in found["updates_mirror_the_params"].message


@pytest.mark.parametrize("w", [np.ones((1, 3), np.float32), 2.0, jnp.ones((1, 3), jnp.complex64)])
def test_params_may_be_numpy_arrays_numbers_or_complex(w):
    def away(params, part):
        return jnp.mean(jnp.abs(part * params["w"] - 1) ** 2)

    task = compare.Task("other", lambda key: {"w": w}, away, away, (X, X, X), batch_size=8)
    assert {result.status for result in judged(optax.sgd(0.01), task).values()} == {"pass"}


def test_an_imaginary_part_must_be_finite_too():
    def infinite(grads, state, params=None):
        return jax.tree.map(lambda g: jax.lax.complex(g.real, g.imag + jnp.inf), grads), state

    start = {"w": jnp.ones((1, 3), jnp.complex64)}
    task = dataclasses.replace(TASK, init=lambda key: start, loss=lambda p, _: abs(p["w"]).sum())
    assert "not finite" in judged(sgd(infinite), task)["updates_mirror_the_params"].message


def sgd(update):
    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def widened(grads, state, params=None):
    return jax.tree.map(lambda g: -0.1 * g.astype(jnp.float32), grads), state


def for_matrices(grads, state, params=None):
    return jax.tree.map(
        lambda g: -0.1 * g / jnp.ones_like(g).sum(axis=0, keepdims=True), grads
    ), state


def still(grads, state, params=None):
    return jax.tree.map(jnp.zeros_like, grads), state


@pytest.mark.parametrize(
    ("update", "name", "says"),
    [
        (widened, "updates_mirror_the_params", r"is float32\[3\], where the param is bfloat16"),
        (for_matrices, "updates_mirror_the_params", "It raised ValueError"),
        (still, "trains_the_loop", "change nothing"),
    ],
)
def test_what_the_small_trees_do_not_show_is_found(update, name, says):
    found = judged(sgd(update))[name]
    assert found.status == "fail"
    assert re.search(says, found.message), found.message


def test_a_loss_that_is_not_finite_is_told_with_its_step():
    found = judged(sgd(lambda g, s, p=None: (jax.tree.map(lambda x: x * 1e38, g), s)))
    assert found["trains_the_loop"].status == "fail"
    assert "The loss of step" in found["trains_the_loop"].message


def test_the_fault_of_a_loop_is_no_failure_of_the_optimizer():
    loop = dataclasses.replace(compare.as_loop(TASK), start=lambda optimizer, key: ())
    with pytest.raises(ValueError, match="never calls init"):
        judged(lo.adam(0.01), loop)


def test_a_problem_that_is_not_given_is_asked_for():
    with pytest.raises(ValueError, match="no problem is given"):
        check.run(lo.adam(0.01), only=["problem"])


@pytest.mark.parametrize(
    ("given", "statuses"),
    [
        ({"only": ["interface"]}, [None, None, None]),
        ({"only": ["problem.trains_the_loop"]}, [None, "pass", None]),
        ({"only": ["problem", "reference"], "skip": ["problem"]}, ["skip", "skip", "pass"]),
        ({"only": ["reference"], "skip": {"reference": "known"}}, [None, None, "skip"]),
    ],
)
def test_what_is_asked_on_a_problem_or_a_reference_can_be_left_out(given, statuses):
    report = check.run(lo.sgd(0.01), problem=TASK, reference=lo.sgd(0.01), **given)
    found = {result.name: result.status for result in report.results}
    names = ["problem.updates_mirror_the_params", "problem.trains_the_loop"]
    assert [found.get(name) for name in (*names, "reference.step_by_step")] == statuses


def test_the_command_takes_a_problem(capsys):
    command = ["check", "lecture:adam", "--only", "problem", "--problem", "noisy-quadratic"]
    assert cli.main([*command, "--all"]) == 0
    assert "problem.trains_the_loop" in capsys.readouterr().out
