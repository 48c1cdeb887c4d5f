"""The log-likelihood of i.i.d. data, and the losses that fall out of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from lecture_opt import losses
from lecture_opt.losses import log_likelihood

RNG = np.random.default_rng(0)
N, C = 7, 3
PROBS = RNG.dirichlet(np.ones(C), size=N)
IDS = RNG.integers(C, size=N)
UNIT, COINS = RNG.uniform(0.1, 0.9, size=N), RNG.integers(2, size=N)
MEANS, TARGETS = RNG.normal(size=(2, N))
EPS = np.finfo(np.float64).eps
SIGMA = 1.7


def test_it_is_the_logarithm_of_the_product_of_densities(x64):
    one_hot = np.eye(C)[IDS]
    for given, densities in (
        (log_likelihood("categorical", PROBS, IDS), PROBS[np.arange(N), IDS]),
        (log_likelihood("categorical", PROBS, one_hot), (PROBS**one_hot).prod(-1)),
        (log_likelihood("bernoulli", UNIT, COINS), scipy.stats.bernoulli.pmf(COINS, UNIT)),
        (log_likelihood("normal", MEANS, TARGETS), scipy.stats.norm.pdf(TARGETS, MEANS)),
        (
            log_likelihood("normal", MEANS, TARGETS, scale=SIGMA),
            scipy.stats.norm.pdf(TARGETS, MEANS, SIGMA),
        ),
    ):
        np.testing.assert_allclose(given, np.log(densities.prod()), rtol=16 * EPS)


def test_losses_fall_out_of_it(x64):
    def close(given, expected):
        np.testing.assert_allclose(given, expected, rtol=16 * EPS)

    close(
        log_likelihood("categorical", PROBS, IDS),
        -N * losses.categorical_cross_entropy(PROBS, IDS),
    )
    close(log_likelihood("bernoulli", UNIT, COINS), -N * losses.binary_cross_entropy(UNIT, COINS))
    close(
        log_likelihood("normal", MEANS, TARGETS, scale=SIGMA),
        -N * np.log(SIGMA * np.sqrt(2 * np.pi))
        - N * losses.mean_squared_error(MEANS, TARGETS) / (2 * SIGMA**2),
    )


def test_what_maximises_it_are_the_statistics_of_the_data(x64):
    def slope(distribution, targets):
        n = len(targets)
        return jax.grad(lambda f: log_likelihood(distribution, jnp.full(n, f), targets))

    np.testing.assert_allclose(slope("normal", TARGETS)(TARGETS.mean()), 0, atol=16 * EPS)
    np.testing.assert_allclose(slope("bernoulli", COINS)(COINS.mean()), 0, atol=64 * EPS)


def test_where_leaves_data_out(x64):
    mask = np.arange(N) % 2 == 0
    for distribution, x, y in (
        ("categorical", PROBS, IDS),
        ("bernoulli", UNIT, COINS),
        ("normal", MEANS, TARGETS),
    ):
        given = log_likelihood(distribution, x, y, where=mask)
        expected = log_likelihood(distribution, x[mask], y[mask])
        np.testing.assert_allclose(given, expected, rtol=16 * EPS)


def test_of_no_data_it_is_0():
    assert log_likelihood("normal", np.zeros(0), np.zeros(0)) == 0


def test_unknown_distributions_and_scales_without_use_are_errors():
    with pytest.raises(ValueError, match=r"distribution is 'poisson'; wanted .*'bernoulli'"):
        log_likelihood("poisson", UNIT, COINS)
    for distribution, x, y in (("categorical", PROBS, IDS), ("bernoulli", UNIT, COINS)):
        with pytest.raises(
            ValueError, match=f"scale is given, but '{distribution}' does not have one"
        ):
            log_likelihood(distribution, x, y, scale=2.0)
