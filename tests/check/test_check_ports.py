"""References from other libraries: equal where they are, and the cause where they are not."""

import optax
import pytest

from lecture_opt import check
from lecture_opt.check.diagnosis import foreign

EQUAL = {
    "torch:Adam(lr=0.001)": optax.adam(1e-3),
    "torch:AdamW(lr=0.001, weight_decay=0.1)": optax.adamw(1e-3, weight_decay=0.1),
    "torch:SGD(lr=0.1, momentum=0.9, nesterov=True)": optax.sgd(0.1, momentum=0.9, nesterov=True),
    "torch:RMSprop(lr=0.01, alpha=0.9)": optax.rmsprop(1e-2, decay=0.9, eps_in_sqrt=False),
}
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


@pytest.mark.parametrize("text", ["torch:Adam(3)", "torch:Adam(lr=x)", "torch:Adam(lr", "keras:"])
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError, match="wanted literal keyword arguments"):
        foreign.reference(text)


def test_a_library_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras", None)
    with pytest.raises(ValueError, match="pip install keras"):
        check.run(optax.adam, only=["reference"], reference="keras:Adam")
