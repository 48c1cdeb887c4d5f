"""The race in Python: paths are the library's own steps, rates are tuned, divergence is a value."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import optimize

from lecture_opt import race, specs
from lecture_opt.race import trajectories

SURFACES = list(race.SURFACES.values())


def by_hand(optimizer, surface, start, steps):
    """The plainest loop there is, without jit."""
    point, points = jnp.array(start), [np.array(start)]
    state = optimizer.init(point)
    for shake in trajectories.noise(steps):
        grads = jax.grad(lambda p: surface.value(p[0], p[1]))(point)
        updates, state = optimizer.update(grads + surface.noise * jnp.array(shake), state, point)
        point = optax.apply_updates(point, updates)
        points.append(np.array(point))
    return np.array(points)


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
def test_minima_are_where_the_surface_says(surface):
    for minimum in surface.minima:
        assert surface.value(*minimum) == pytest.approx(surface.floor, abs=1e-12)
        found = optimize.minimize(lambda p: surface.value(*p), np.add(minimum, 0.01), tol=1e-10)
        np.testing.assert_allclose(found.x, minimum, atol=1e-4)
        assert surface.x[0] < minimum[0] < surface.x[1]
        assert surface.y[0] < minimum[1] < surface.y[1]
    assert (
        trajectories.heights(surface, np.random.default_rng(0).uniform(-9, 9, (999, 2))).min() > 0
    )


def test_a_path_is_the_hand_written_loop(x64):
    spec = specs.parse("lecture:adam")
    surfaces = [race.SURFACES["beale"], race.SURFACES["noisy-bowl"]]
    (lane,) = race.run([spec], surfaces, steps=12, learning_rate=0.1)
    for surface in surfaces:
        expected = by_hand(specs.build(spec, learning_rate=0.1), surface, surface.start, 12)
        np.testing.assert_allclose(lane.paths[surface.name].points, expected, rtol=1e-12)


def test_a_path_ends_where_it_leaves_the_plane_and_the_others_go_on():
    surfaces = [race.SURFACES["rosenbrock"], race.SURFACES["noisy-bowl"]]
    (lane,) = race.run([specs.parse("lecture:sgd")], surfaces, steps=20, learning_rate=0.1)
    path = lane.paths["rosenbrock"]
    assert path.diverged is not None
    assert len(path.walked) == path.diverged
    assert np.all(np.abs(path.walked) <= trajectories.FAR)
    assert np.all(np.isnan(path.points[path.diverged :]))
    assert lane.paths["noisy-bowl"].diverged is None
    assert np.all(np.isfinite(lane.paths["noisy-bowl"].points))


def test_the_rate_is_the_lowest_that_is_about_as_good_as_the_best():
    surface = race.SURFACES["valley"]
    spec = specs.parse("lecture:sgd")
    (lane,) = race.run([spec], [surface], steps=30)
    means = {}
    for rate in trajectories.RATES:
        # Gradient descent on a quadratic in closed form.
        powers = np.arange(31)[:, None]
        points = np.array(surface.start) * (1 - rate * np.array([0.1, 10.0])) ** powers
        means[rate] = trajectories.heights(surface, points).mean()
    good = [rate for rate in means if means[rate] <= trajectories.SLACK * min(means.values())]
    assert lane.paths["valley"].learning_rate == min(good)


def test_a_given_start_and_an_own_rate_are_kept(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("import optax\nready = optax.sgd(0.25)\n")
    found = race.run(
        [specs.parse("optax:sgd(learning_rate=0.5)"), specs.parse(f"{file}:ready")],
        [race.SURFACES["noisy-bowl"]],
        steps=3,
        learning_rate=0.1,
        start=(1.0, 2.0),
    )
    paths = [lane.paths["noisy-bowl"] for lane in found]
    assert [path.learning_rate for path in paths] == [0.5, None]
    np.testing.assert_array_equal([path.points[0] for path in paths], [[1, 2], [1, 2]])
    first = trajectories.noise(3)[0] + [1.0, 2.0]
    np.testing.assert_allclose(
        [p.points[1] for p in paths], [[1, 2] - 0.5 * first, [1, 2] - first / 4]
    )


def test_what_cannot_run_is_named(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def broken(learning_rate):\n    return lambda p: (), lambda *a: 1 / 0\n")
    with pytest.raises(ValueError, match="broken can't run on two numbers: ZeroDivisionError"):
        race.run([specs.parse(f"{file}:broken")], SURFACES[:1], steps=2)
