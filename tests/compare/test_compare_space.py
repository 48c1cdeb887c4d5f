"""What is tried: ranges as written, draws inside them, the same for all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lecture_opt import specs
from lecture_opt.compare import space


def test_one_rate_is_an_even_grid():
    rates = space.draw({"learning_rate": specs.Range("log", 1e-4, 10.0)}, 16)["learning_rate"]
    np.testing.assert_allclose(np.diff(np.log10(rates)), 1 / 3)
    np.testing.assert_allclose(rates[[0, -1]], [1e-4, 10])
    assert space.draw({"a": specs.Range("log", 1e-4, 1.0)}, 1)["a"] == pytest.approx([1e-2])


@given(st.integers(1, 40))
def test_draws_stay_in_their_ranges_and_repeat(count):
    ranges = space.of(
        specs.parse("optax:adam(b1=log1m(0.8, 0.99), eps=log(1e-9, 1e-6), b2=choice(0.9, 0.99))")
    )
    draws = space.draw(ranges, count)
    assert list(draws) == ["learning_rate", "b1", "eps", "b2"]
    for name, low, high in (("learning_rate", 1e-4, 10), ("b1", 0.8, 0.99), ("eps", 1e-9, 1e-6)):
        assert np.all((draws[name] >= low * (1 - 1e-9)) & (draws[name] <= high * (1 + 1e-9)))
    assert set(draws["b2"]) <= {0.9, 0.99}
    again = space.draw(ranges, count)
    assert all(np.array_equal(draws[name], again[name]) for name in draws)


def test_draws_fill_the_space_evenly():
    ranges = {"a": specs.Range("log", 1e-3, 1e3), "b": specs.Range("log1m", 0.9, 0.999)}
    draws = space.draw(ranges, 64)
    low_half = np.mean(draws["a"] < 1)
    assert low_half == pytest.approx(0.5, abs=0.02)
    assert np.mean(1 - draws["b"] < 1e-2) == pytest.approx(0.5, abs=0.02)
    uniform = space.draw({**ranges, "a": specs.Range("uniform", 2, 4)}, 64)["a"]
    assert uniform.mean() == pytest.approx(3, abs=0.05)


def test_the_edge_is_the_least_or_the_largest_drawn():
    ranges = space.of(specs.parse("optax:adam(b2=choice(0.9, 0.99))"))
    draws = space.draw(ranges, 8)
    order = np.argsort(draws["learning_rate"])
    assert space.on_edge(ranges, draws, order[0]) == ["learning_rate"]
    assert space.on_edge(ranges, draws, order[-1]) == ["learning_rate"]
    assert space.on_edge(ranges, draws, order[3]) == []


@pytest.mark.parametrize(
    ("inside", "says"),
    [
        ("b1=log(0, 1)", "0 < low < high"),
        ("b1=log(2, 1)", "is empty"),
        ("b1=log1m(0.5, 1)", "low < high < 1"),
        ("b1=uniform(1)", "got 1 numbers"),
        ("b1=uniform(1, 2, 3)", "got 3 numbers"),
        ("b1=choice(1)", "choice got 1"),
        ("b1=choice('a', 'b')", "numbers alone"),
        ("b1=choice(True, False)", "numbers alone"),
        ("b1=uniform(low=1, high=2)", "numbers alone"),
        ("b1=normal(0, 1)", "normal is not a range"),
        ("b1=log(open('x'), 1)", "not a literal"),
        ("nonsense=log(1, 2)", "takes no 'nonsense'"),
    ],
)
def test_a_range_without_sense_is_refused(inside, says):
    with pytest.raises(specs.SpecError, match=says):
        specs.parse(f"optax:adam({inside})")


def test_a_range_is_no_value():
    spec = specs.parse("optax:adam(b1=uniform(0.5, 0.9), b2=0.99)")
    assert spec.kwargs == {"b2": 0.99}
    assert spec.name == "optax:adam(b1=uniform(0.5, 0.9), b2=0.99)"
    with pytest.raises(specs.SpecError, match="wanted one value"):
        specs.build(spec, learning_rate=0.1)
    specs.build(spec, learning_rate=0.1, b1=0.5)
