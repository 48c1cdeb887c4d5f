"""The ways in: report, JSON, command line, pytest; the numbers in them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest

from lecture_opt import check, cli
from lecture_opt.check.diagnosis import calls, rules
from lecture_opt.check.diagnosis import fitting as fit
from lecture_opt.environment import environment


def sign_flipped(learning_rate=0.1):
    return optax.sgd(-learning_rate)


def test_every_property_says_what_why_and_the_usual_cause():
    for prop in check.PROPERTIES:
        text = prop.__doc__ or ""
        assert "Why:" in text, check.name_of(prop)
        assert "Usual cause:" in text, check.name_of(prop)


def test_names_are_unique():
    names = [check.name_of(prop) for prop in check.PROPERTIES]
    assert len(set(names)) == len(names) > 60


def test_a_failure_reads_well():
    with pytest.raises(AssertionError) as caught:
        check.assert_ok(sign_flipped, only=["direction.goes_down"])
    text = str(caught.value)
    assert "sign_flipped fails 1 of 1" in text
    assert "a negative number is wanted" in text
    assert "missing minus" in text


def test_skips_carry_their_reason():
    report = check.run(
        sign_flipped, only=["direction.goes_down"], skip={"direction": "it goes up on purpose"}
    )
    assert report.ok
    assert report["direction.goes_down"].message == "it goes up on purpose"


@pytest.mark.parametrize("argument", ["skip", "only"])
def test_an_unknown_property_is_an_error(argument):
    with pytest.raises(ValueError, match=r"no property or family 'tree'.*trees"):
        check.run(optax.sgd, **{argument: ["tree"]})


@pytest.mark.parametrize("thing", [3, "adam", (1, 2), None])
def test_what_is_no_optimizer_is_an_error(thing):
    with pytest.raises(TypeError, match="must be an"):
        check.run(thing)


def test_the_caller_s_configuration_does_not_matter(x64):
    assert jax.config.jax_numpy_dtype_promotion == "strict"
    report = check.run(optax.adam, only=["dtypes"])
    assert report.ok
    assert jax.config.jax_enable_x64


def test_json_is_strict_and_whole(tmp_path):
    report = check.run(optax.sgd, only=["interface", "traits"])
    report.write_json(tmp_path / "new" / "report.json")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.json"]
    data = json.loads((tmp_path / "new" / "report.json").read_text(), parse_constant=pytest.fail)
    assert data["ok"] is True
    assert data["results"][0]["name"] == "interface.update_runs"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["optax:sgd", "--only", "interface"], 0),
        (["optax:sgd(learning_rate=-1.0)", "--only", "direction.goes_down"], 1),
        (["optax:sdg"], 2),
        (["optax:sgd", "--only", "nothing"], 2),
        (["optax:sgd", "--only", "reference"], 2),
        (["optax:sgd", "--only", "reference", "--reference", "optax:sgd(momentum=0.0)"], 0),
        (["optax:sgd", "--output", "."], 2),
        (["optax:sgd", "--output", "pyproject.toml/report.json"], 2),
        ([], 2),
        (["--list"], 0),
    ],
)
def test_exit_status(arguments, status, capsys):
    assert cli.main(["check", *arguments]) == status
    captured = capsys.readouterr()
    assert captured.err if status == 2 else captured.out


@pytest.mark.parametrize("optimizer", [optax.polyak_sgd, optax.contrib.momo_adam])
def test_an_optimizer_that_needs_the_loss_is_given_one(optimizer):
    report = check.run(optimizer, only=["interface", "learning.convex_quadratic"])
    assert report.ok
    assert report["interface.update_runs"].status == "pass"
    assert report["learning.convex_quadratic"].status == "pass"


def test_what_asks_for_more_than_the_loss_is_skipped():
    def update(grads, state, params=None, *, curvature):
        return jax.tree.map(lambda g: -g / curvature, grads), state

    optimizer = optax.GradientTransformationExtraArgs(lambda p: (), update)
    report = check.run(optimizer, only=["interface"])
    assert report.ok
    assert "curvature" in report["interface.update_runs"].message


KNOWN = {
    "optax.sgd(learning_rate=0.1)": optax.sgd(0.1),
    "optax.sgd(learning_rate=0.1, momentum=0.9)": optax.sgd(0.1, momentum=0.9),
    "optax.sgd(learning_rate=0.1, momentum=0.9, nesterov=True)": optax.sgd(
        0.1, momentum=0.9, nesterov=True
    ),
    "optax.adagrad(learning_rate=0.1, initial_accumulator_value=0, eps=1e-06)": optax.adagrad(
        0.1, initial_accumulator_value=0.0, eps=1e-6
    ),
    "optax.rmsprop(learning_rate=0.1, decay=0.9, eps=1e-06)": optax.rmsprop(
        0.1, decay=0.9, eps=1e-6
    ),
    "optax.adam(learning_rate=0.001, b1=0.8, b2=0.99, eps=1e-06)": optax.adam(
        1e-3, b1=0.8, b2=0.99, eps=1e-6
    ),
    "optax.adamw(learning_rate=0.1, b1=0.9, b2=0.999, eps=1e-08, weight_decay=0.01)": optax.adamw(
        0.1, weight_decay=0.01
    ),
}


@pytest.mark.parametrize("text", KNOWN)
def test_identity_measures_the_hyperparameters(text):
    report = check.run(KNOWN[text], only=["identity"])
    assert report["identity.what_it_is"].message.startswith(f"Equals {text} to ")


@pytest.mark.slow
def test_identity_names_a_missing_correction():
    from wrong.formulas import adam

    message = check.run(adam(correct=(0, 0)), only=["identity"])["identity.what_it_is"].message
    assert message.startswith("Equals optax.adam(learning_rate=0.01, b1=0.9, b2=0.999, eps=1e-08)")
    assert message.endswith("if bias correction is not applied to both moments.")


@pytest.mark.parametrize("rule", rules.KNOWN, ids=calls.call)
def test_every_known_rule_is_recovered_from_its_own_updates(rule):
    grads = fit.probe(fit.STEPS, 0)
    responses = fit.Responses(grads, rules.simulate(rule, grads))
    gap, found = fit.nearest(responses)[0]
    assert gap < fit.EQUAL
    assert np.isclose(
        np.abs(rules.simulate(found, grads)).sum(), np.abs(responses.updates).sum(), rtol=1e-3
    )


def test_a_reference_that_is_equal_passes():
    twin = optax.chain(optax.trace(0.9), optax.scale(-0.1))
    outcome = check.against(check.make(twin), optax.sgd(0.1, momentum=0.9))
    assert outcome.status == "pass"


def test_where_two_optimizers_part_is_exact():
    def late(learning_rate=0.1):
        def update(grads, state, params=None):
            off = jnp.where(state == 3, 1.5, 1.0)
            step = lambda g: (-learning_rate * off * g).astype(g.dtype)  # noqa: E731
            return jax.tree.map(step, grads), optax.safe_increment(state)

        return optax.GradientTransformation(lambda p: jnp.zeros([], jnp.int32), update)

    with environment():
        outcome = check.against(check.make(late), optax.sgd(0.1))
    assert outcome.status == "fail"
    assert outcome.evidence["step"] == 3
    assert outcome.evidence["got"] == pytest.approx(1.5 * outcome.evidence["wanted"])


def test_the_late_factor_is_not_called_by_a_wrong_name():
    def late(learning_rate=0.1):
        def update(grads, state, params=None):
            off = jnp.where(state % 2 == 1, 1.5, 1.0)
            step = lambda g: (-learning_rate * off * g).astype(g.dtype)  # noqa: E731
            return jax.tree.map(step, grads), optax.safe_increment(state)

        return optax.GradientTransformation(lambda p: jnp.zeros([], jnp.int32), update)

    outcome = check.against(check.make(late), optax.sgd(0.1))
    assert "1.5 times the reference's in steps 1, 3, 5, 7, ..., all elements" in outcome.message
