"""The page's JavaScript walks the same paths as the library in float64."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lecture_opt import race, specs
from lecture_opt.race import trajectories, webpage

SOURCE = (Path(webpage.__file__).parent / "page" / "rules.js").read_text()
SETTINGS = {
    "sgd": (1e-3, "lecture:sgd"),
    "momentum": (1e-3, "lecture:momentum(momentum=0.8)"),
    "nesterov": (1e-3, "lecture:nesterov"),
    "adagrad": (0.3, "lecture:adagrad(eps=1e-5)"),
    "rmsprop": (0.01, "lecture:rmsprop(decay=0.95)"),
    "adam": (0.05, "lecture:adam(b1=0.8, b2=0.99, b1_decay=0.999)"),
}


@pytest.fixture(scope="module")
def in_javascript():
    """A function that runs a call of rules.js for each of many argument lists."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")

    def run(function, calls):
        script = f"{SOURCE}\nconst calls = {json.dumps(calls)};\n"
        script += f"console.log(JSON.stringify(calls.map((c) => ({function})(...c))));"
        done = subprocess.run([node, "-"], input=script, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return run


def test_every_surface_and_rule_is_there(in_javascript):
    ((surfaces, rules),) = in_javascript("() => [Object.keys(SURFACES), Object.keys(RULES)]", [[]])
    assert surfaces == list(race.SURFACES)
    assert rules == list(webpage.RULES) == list(SETTINGS)


def test_values_and_gradients_are_the_surfaces(in_javascript):
    points = np.random.default_rng(0).uniform(-2, 2, (20, 2))
    for name, surface in race.SURFACES.items():
        calls = [[name, *point] for point in points.tolist()]
        call = "(name, x, y) => [SURFACES[name].value(x, y), ...SURFACES[name].gradient(x, y)]"
        value, *slope = np.transpose(in_javascript(call, calls))
        x, y = points.T
        np.testing.assert_allclose(value, surface.value(x, y), rtol=1e-12, atol=1e-12)
        # Complex steps: exact to rounding, and no second transcription.
        np.testing.assert_allclose(slope[0], surface.value(x + 1e-30j, y).imag / 1e-30, rtol=1e-12)
        np.testing.assert_allclose(slope[1], surface.value(x, y + 1e-30j).imag / 1e-30, rtol=1e-12)


@pytest.mark.parametrize("rule", SETTINGS)
def test_paths_are_those_of_the_library(rule, in_javascript):
    rate, text = SETTINGS[rule]
    spec = specs.parse(text)
    surfaces = list(race.SURFACES.values())
    (lane,) = race.run([spec], surfaces, steps=200, learning_rate=rate)
    name, hyperparameters = webpage.rule_of(spec)
    assert name == rule
    noise = trajectories.noise(200).tolist()
    settings = {**hyperparameters, "learning_rate": rate}
    calls = [[s.name, rule, settings, list(s.start), noise, s.noise] for s in surfaces]
    for surface, found in zip(surfaces, in_javascript("trajectory", calls), strict=True):
        path = lane.paths[surface.name]
        assert found["diverged"] == path.diverged
        np.testing.assert_allclose(found["points"], path.walked, rtol=1e-9, atol=1e-9)
        assert np.ptp(path.walked, axis=0).max() > 1e-3


def test_both_diverge_at_the_same_step(in_javascript):
    surface = race.SURFACES["rosenbrock"]
    (lane,) = race.run([specs.parse("lecture:sgd")], [surface], steps=9, learning_rate=0.1)
    arguments = ["rosenbrock", "sgd", {"learning_rate": 0.1}, list(surface.start), [[0, 0]] * 9, 0]
    (found,) = in_javascript("trajectory", [arguments])
    assert found["diverged"] == lane.paths["rosenbrock"].diverged
    assert len(found["points"]) == found["diverged"]


def test_only_the_library_s_own_optimizers_have_a_rule(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from lecture_opt import adam\n\ndef mine(learning_rate):\n    return adam()\n")
    assert webpage.rule_of(specs.parse("optax:adam")) == (None, {})
    assert webpage.rule_of(specs.parse(f"{file}:mine")) == (None, {})
    assert webpage.rule_of(specs.parse(f"{file}:adam"))[0] == "adam"
