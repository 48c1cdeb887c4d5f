"""Settings every test runs under: strict dtype promotion, no rank promotion, fixed keys."""

import gc
import os

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["LECTURE_OPT_NO_CACHE"] = "1"  # tests neither read nor fill the user's

import browser
import hypothesis
import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_default_matmul_precision", "highest")  # GPUs round products to 10 bits else
jax.devices()  # started here, before a test of `lecture-opt check` asks for eight of them

hypothesis.settings.register_profile(
    "lecture_opt", deadline=None, derandomize=True, max_examples=50
)
hypothesis.settings.load_profile("lecture_opt")

collect_ignore_glob = ["*conftest.py"]  # else they are looked through for doctests, by one name
JUDGES = {"bench", "check", "compare", "inspect", "race"}


def pytest_collection_modifyitems(config, items):
    """Coverage is of the core, and would make the judges' tests a sixth longer."""
    if config.pluginmanager.hasplugin("pytest_cov"):
        for item in items:
            if JUDGES & {*item.path.relative_to(config.rootpath).parts[:-1]}:
                item.add_marker("no_cover")


def pytest_collection_finish():
    """What is imported by now stays, and the collector needn't look at it a thousand times."""
    gc.freeze()
    gc.set_threshold(50_000)
    # Where JAX keeps what it compiles, if anywhere: not for the processes that tests start.
    os.environ.pop("JAX_COMPILATION_CACHE_DIR", None)


@pytest.fixture
def x64():
    """Turn on 64-bit types for one test."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.fixture
def key():
    """The one key tests start from."""
    return jax.random.key(0)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """A headless browser, started once; skips where there is none."""
    driver = browser.start(tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


@pytest.fixture
def driver(chromium, page):
    """The browser at a test file's `page`, which writes no complaint and asks for nothing else."""
    browser.resize(chromium, 1200)
    browser.complaints(chromium), browser.requests(chromium)
    address = browser.open_page(chromium, page)
    yield chromium
    assert browser.complaints(chromium) == []
    assert {url.partition("#")[0] for url in browser.requests(chromium)} == {address}
