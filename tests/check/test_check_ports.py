"""References from other libraries: equal where they are, and the cause where they are not."""

import jax
import jax.numpy as jnp
import optax
import pytest

from lecture_opt import check
from lecture_opt.check.diagnosis import foreign

EQUAL = {
    "torch:Adam(lr=0.001)": optax.adam(1e-3),
    "torch:AdamW(lr=0.001, weight_decay=0.1)": optax.adamw(1e-3, weight_decay=0.1),
    "torch:SGD(lr=0.1, momentum=0.9, nesterov=True)": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "torch:RMSprop(lr=0.01, alpha=0.9)": optax.rmsprop(1e-2, decay=0.9, eps_in_sqrt=False),
    "torch:SGD(lr=0.1, scheduler=StepLR(step_size=5, gamma=0.5))": optax.sgd(
        optax.exponential_decay(0.1, 5, 0.5, staircase=True)
    ),
    "torch:SGD(lr=0.1, momentum=0.9, clip_grad_value=0.5)": optax.chain(
        optax.clip(0.5), optax.sgd(0.1, momentum=0.9)
    ),
    "torch:SGD(lr=0.1, clip_grad_norm=1.0)": optax.chain(
        optax.clip_by_global_norm(1.0), optax.sgd(0.1)
    ),
}


def ported(rule, moments):
    """An optimizer from the rule of one array: (step, gradient, param, *moments)."""

    def init(params):
        zeros = [jax.tree.map(jnp.zeros_like, params) for _ in range(moments)]
        return (jnp.zeros((), jnp.int32), *zeros)

    def update(grads, state, params=None):
        count, trees = state[0] + 1, state[1:]
        structure = jax.tree.structure(grads)
        leaves = zip(*map(jax.tree.leaves, (grads, params, *trees)), strict=True)
        found = [rule(count.astype(g.dtype), g, *rest) for g, *rest in leaves]
        new = [jax.tree.unflatten(structure, each) for each in zip(*found, strict=True)]
        return new[0], (count, *new[1:])

    return optax.GradientTransformation(init, update)


def adam(place="", eps=1e-8, decay=0.0, largest=""):
    def rule(t, g, p, m, v, top):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        unbias = 1 - 0.999**t
        hat = v / unbias
        if largest:
            top = jnp.maximum(top, v if largest == "before" else hat)
            hat = top / unbias if largest == "before" else top
        root = {
            "": lambda: jnp.sqrt(hat) + eps,
            "inside": lambda: jnp.sqrt(hat + eps),
            "early": lambda: (jnp.sqrt(v) + eps) / jnp.sqrt(unbias),
        }[place]()
        step = -1e-3 * m / (1 - 0.9**t) / root
        return step - 1e-3 * decay * (p + step), m, v, top

    return ported(rule, 3)


def momentum(dampening, seeded):
    def rule(t, g, p, m):
        m = 0.9 * m + (1 - dampening) * g
        m = jnp.where(t == 1, g, m) if seeded else m
        return -0.1 * m, m

    return ported(rule, 1)


EQUAL["torch:SGD(lr=0.1, momentum=0.9, dampening=0.1)"] = momentum(0.1, seeded=True)
EQUAL["torch:Adam(lr=1e-3, amsgrad=True)"] = adam(largest="before")
PLANTED = [
    ("torch:Adam(lr=1e-3)", adam("inside"), "eps is moved inside the square root"),
    ("torch:Adam(lr=1e-3)", adam("early"), "eps is added before the root is bias-corrected"),
    ("torch:AdamW(lr=1e-3)", adam(decay=0.01), "of the params after the step, not before"),
    ("torch:Adam(lr=1e-3, amsgrad=True)", adam(largest="after"), "after its bias correction"),
    (
        "torch:SGD(lr=0.1, momentum=0.9, dampening=0.1)",
        momentum(0.1, seeded=False),
        "the first gradient is dampened too",
    ),
    (
        "torch:SGD(lr=0.1, momentum=0.9, dampening=0.1)",
        momentum(0.0, seeded=True),
        "if dampening is left out",
    ),
    ("keras:Adam", adam(eps=1e-7), "eps is added after the root is bias-corrected"),
    ("keras:Adam", adam("early"), "eps is 1e-08 instead of 1e-07"),
]
DIFFERENT = {
    "torch:AdamW(lr=0.001)": (optax.adamw(1e-3), "weight decay is 0.0001 instead of 0.01"),
    "torch:Adam(lr=0.001, amsgrad=True)": (optax.amsgrad(1e-3), "after its bias correction"),
    "torch:Adam(lr=0.001, weight_decay=0.1)": (optax.adam(1e-3), "weight decay is left out"),
    "torch:RMSprop(lr=0.01)": (optax.rmsprop(1e-2, decay=0.99), "eps is moved inside"),
}


@pytest.mark.parametrize("text", EQUAL)
def test_equal_to_torch(text):
    pytest.importorskip("torch")
    assert check.against(check.make(EQUAL[text]), text).status == "pass"


@pytest.mark.parametrize("text", DIFFERENT)
def test_the_difference_to_torch_is_named(text):
    pytest.importorskip("torch")
    optimizer, cause = DIFFERENT[text]
    outcome = check.against(check.make(optimizer), text)
    assert outcome.status == "fail"
    assert cause in outcome.message


@pytest.mark.parametrize(("text", "optimizer", "cause"), PLANTED)
def test_a_planted_difference_is_named(text, optimizer, cause):
    pytest.importorskip(text.partition(":")[0])
    outcome = check.against(check.make(optimizer), text)
    assert outcome.status == "fail"
    assert cause in outcome.message


def test_a_schedule_of_keras_is_taken():
    pytest.importorskip("keras")
    text = "keras:SGD(learning_rate=ExponentialDecay(initial_learning_rate=0.1, decay_steps=5, "
    text += "decay_rate=0.5, staircase=True))"
    optimizer = optax.sgd(optax.exponential_decay(0.1, 5, 0.5, staircase=True))
    assert check.against(check.make(optimizer), text).status == "pass"


@pytest.mark.parametrize("text", ["torch:Adam(3)", "torch:Adam(lr=x)", "torch:Adam(lr", "keras:"])
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match="wanted literal keyword arguments"):
        foreign.reference(text)


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras", None)
    with pytest.raises(ValueError, match="pip install keras"):
        check.run(optax.adam, only=["reference"], reference="keras:Adam")
