"""Naming optimizers by text: what is found, never evaluated, and said of mistakes."""

import sys
import types

import jax.numpy as jnp
import optax
import pytest

import lecture_opt as lo
from lecture_opt import specs
from lecture_opt.specs import SpecError, build, parse, takes

FILE = """
import optax
from neighbour import RATE

ready = optax.sgd(RATE)
pair = (ready.init, ready.update)
number = 3

class Rule:
    init, update = map(staticmethod, ready)

thing = Rule()

def mine(learning_rate, *, scale=1.0):
    return optax.sgd(learning_rate * scale)

def any_of(**kwargs):
    return optax.sgd(kwargs["learning_rate"])

def wrong():
    return 3
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "neighbour.py").write_text("RATE = 0.5\n")
    (tmp_path / "mine.py").write_text(FILE)
    yield tmp_path / "mine.py"
    sys.modules.pop("neighbour", None)
    sys.modules.pop("lecture_opt_user_mine", None)


def step(optimizer):
    g = jnp.ones(())
    return float(optimizer.update(g, optimizer.init(g), g)[0])


@pytest.mark.parametrize(
    ("text", "name", "kwargs"),
    [
        ("lecture:adam", "lecture:adam", {}),
        (" optax:contrib.muon ", "optax:contrib.muon", {}),
        ("optax:sgd( momentum = 0.9, )", "optax:sgd(momentum=0.9)", {"momentum": 0.9}),
        ("optax:sgd(nesterov=True)", "optax:sgd(nesterov=True)", {"nesterov": True}),
        (
            "optax:adam(b1=-1e-3,\n b2=.5)",
            "optax:adam(b1=-0.001, b2=0.5)",
            {"b1": -1e-3, "b2": 0.5},
        ),
        ("lecture_opt.optimizers:sgd", "lecture_opt.optimizers:sgd", {}),
    ],
)
def test_a_text_names_a_constructor_and_its_arguments(text, name, kwargs):
    spec = parse(text)
    assert (spec.name, spec.kwargs, spec.text) == (name, kwargs, text)
    assert spec.instance is None
    assert isinstance(build(spec, learning_rate=0.1), optax.GradientTransformation)


def test_arguments_are_those_of_the_text_and_of_the_call():
    spec = parse("lecture:momentum(learning_rate=0.5)")
    assert step(build(spec)) == -0.5
    assert step(build(spec, learning_rate=0.25)) == -0.25
    assert takes(spec, "momentum")
    assert not takes(spec, "decay")


def test_a_file_is_one_of_yours(path):
    assert step(build(parse(f"{path}:mine(scale=2.0)"), learning_rate=0.25)) == -0.5
    assert parse(f"{path}:mine").name == "mine.py:mine"
    assert takes(parse(f"{path}:any_of"), "whatever")
    assert step(build(parse(f"{path}:any_of"), learning_rate=0.25)) == -0.25
    for ready in ("ready", "pair", "thing"):
        spec = parse(f"{path}:{ready}")
        assert step(build(spec)) == -0.5
        assert not takes(spec, "learning_rate")
    assert str(path.parent) not in sys.path


def test_a_module_may_lie_where_the_user_stands(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    assert step(build(parse("mine:ready"))) == -0.5
    monkeypatch.delitem(sys.modules, "mine")


def test_a_file_may_change_the_search_path(path):
    path.write_text("import sys; sys.path.remove(sys.path[0])\n" + FILE)
    before = list(sys.path)
    assert step(build(parse(f"{path}:ready"))) == -0.5
    assert sys.path == before


def folders(tmp_path, source):
    """Two folders with an opt.py each, of one text, and a rule.py of their own."""
    for name, rate in (("old", 1.0), ("new", 2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rule.py").write_text(f"RATE = {rate}\n")
        (tmp_path / name / "opt.py").write_text(source)
    return tmp_path / "old" / "opt.py", tmp_path / "new" / "opt.py"


@pytest.fixture
def fresh():
    """The test's modules are gone when it ends."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in ("rule", "opt", "mine", "helpers_of_mine") or "_user_" in name:
            del sys.modules[name]


AT_THE_TOP = """
import optax
from rule import RATE
def mine(learning_rate):
    return optax.sgd(RATE * learning_rate)
"""
IN_THE_FUNCTION = """
import optax
def mine(learning_rate):
    from rule import RATE
    return optax.sgd(RATE * learning_rate)
"""
IN_THE_UPDATE = """
import optax
def mine(learning_rate):
    def update(g, state, params=None):
        import rule
        return -learning_rate * rule.RATE * g, state
    return optax.GradientTransformation(lambda params: (), update)
"""


@pytest.mark.parametrize("source", [AT_THE_TOP, IN_THE_FUNCTION, IN_THE_UPDATE])
def test_files_of_two_folders_use_each_its_own_neighbours(tmp_path, fresh, source):
    old, new = folders(tmp_path, source)
    first, second = (build(parse(f"{path}:mine"), learning_rate=1.0) for path in (old, new))
    assert [step(first), step(second), step(first)] == [-1, -2, -1]
    assert step(build(parse(f"{old}:mine"), learning_rate=1.0)) == -1


def test_modules_of_two_folders_are_two(tmp_path, fresh, monkeypatch):
    old, new = folders(tmp_path, AT_THE_TOP)
    for path, wanted in ((old, -1), (new, -2), (old, -1)):
        monkeypatch.chdir(path.parent)
        assert step(build(parse("opt:mine"), learning_rate=1.0)) == wanted


def test_namesakes_are_told_apart_by_their_folders(tmp_path, fresh, monkeypatch):
    old, new = folders(tmp_path, AT_THE_TOP)
    texts = [f"{old}:mine", f"{new}:mine", f"{old}:mine(learning_rate=1)", "optax:sgd"]
    names = [spec.name for spec in specs.distinct([parse(text) for text in texts])]
    assert names[:2] == ["old/opt.py:mine", "new/opt.py:mine"]
    assert names[2:] == ["opt.py:mine(learning_rate=1)", "optax:sgd"]
    monkeypatch.chdir(tmp_path)
    twice = specs.distinct([parse(f"{old}:mine"), parse("old/opt.py:mine")])
    assert [spec.name for spec in twice] == ["opt.py:mine"] * 2


@pytest.mark.parametrize(
    "text",
    [
        "os:system(command='touch called')",
        "subprocess:run(args=['touch', 'called'])",
        "subprocess:Popen(args=['touch', 'called'])",
        "pathlib:Path.touch(self='called')",
        "builtins:open(file='called', mode='w')",
        "numpy:savetxt(fname='called', X=[1])",
        "jax.numpy:save(file='called', arr=1)",
        "mine.py:run(args=['touch', 'called'])",
        "mine.py:touch",
        "mine:touch",
        "mine.py:instance",
    ],
)
def test_a_function_that_makes_no_optimizer_is_not_called(tmp_path, fresh, monkeypatch, text):
    (tmp_path / "mine.py").write_text(
        "import functools, operator, os\nfrom subprocess import run\n"
        "touch = functools.partial(os.system, 'touch called')\n"
        "instance = operator.methodcaller('touch')\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"is not called, as .* has nothing to do with optimizers"):
        build(parse(text))
    assert not (tmp_path / "called").exists()
    with pytest.raises(SpecError, match="is not called"):
        specs.find("os:getcwd")


MAKERS = """
import functools, optax
from helpers_of_mine import pair
from optax import sgd
part = functools.partial(optax.sgd, momentum=0.0)
injected = optax.inject_hyperparams(optax.sgd)
class Maker:
    def __call__(self, learning_rate):
        return sgd(learning_rate)
made = Maker()
method = made.__call__
short = lambda learning_rate: sgd(learning_rate)
"""
HELPERS = """
def pair(learning_rate):
    return (lambda params: ()), (lambda g, state, params: (-learning_rate * g, state))
"""


@pytest.mark.parametrize("name", ["pair", "sgd", "part", "injected", "made", "method", "short"])
def test_what_a_file_defines_or_imports_may_be_called(tmp_path, fresh, name):
    (tmp_path / "helpers_of_mine.py").write_text(HELPERS)
    (tmp_path / "mine.py").write_text(MAKERS)
    assert step(build(parse(f"{tmp_path}/mine.py:{name}"), learning_rate=0.5)) == -0.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("adam", "adam: says no source; did you mean lecture:adam or optax:adam?"),
        ("adam(b1=0.5)", "did you mean lecture:adam or optax:adam?"),
        ("", "'': not the name of an optimizer; write lecture:NAME"),
        ("optax:", "not the name of an optimizer"),
        ("optax:1up", "not the name of an optimizer"),
        ("optax:rmsporp", "optax has no 'rmsporp'; did you mean 'rmsprop'?"),
        ("optax:contrib.zzzzzz", "optax.contrib has no 'zzzzzz'"),
        ("optax:sgd.nothing", "sgd has no 'nothing'"),
        ("lectur:adam", "unknown source 'lectur'; did you mean 'lecture'?"),
        ("zzzz:adam", "unknown source 'zzzz'; write lecture:NAME"),
        ("a-b:adam", "unknown source 'a-b'; write"),
        ("nowhere.py:adam", "there is no file nowhere.py"),
        ("optax:sgd(0.1)", "an argument has no name"),
        ("optax:sgd(**{})", "an argument has no name"),
        ("optax:sgd(momentum=0.9", "malformed brackets"),
        ("optax:sgd()()", "malformed brackets"),
        ("optax:sgd()+1", "malformed brackets"),
        ("optax:sgd(momentum=0.9, momentum=0.8)", "malformed brackets|momentum is given twice"),
        ("optax:sgd(momentum=1+1)", "momentum=1.1 is not a literal"),
        ("optax:sgd(momentum=exit())", r"exit is not a range to search; write one of log, log1m"),
        ("optax:sgd(rate=1)", "takes no 'rate'; it takes learning_rate, momentum"),
        ("optax:GradientTransformation", "needs init, update|is neither"),
        ("math:pi", "pi is neither an optimizer .* nor a function that makes one, but a float"),
    ],
)
def test_a_mistake_is_told(text, says):
    with pytest.raises(SpecError, match=says.replace("?", r"\?")):
        build(parse(text))


def test_mistakes_in_a_file_are_told_with_their_line(path):
    with pytest.raises(SpecError, match="number is neither an optimizer"):
        parse(f"{path}:number")
    with pytest.raises(SpecError, match="ready is a ready optimizer and takes no arguments"):
        parse(f"{path}:ready(learning_rate=1)")
    with pytest.raises(SpecError, match="a ready optimizer takes no learning_rate"):
        build(parse(f"{path}:ready"), learning_rate=1)
    with pytest.raises(SpecError, match=r"mine.py:wrong: returned a int, which is not a pair"):
        build(parse(f"{path}:wrong"))
    with pytest.raises(SpecError, match=r"mine.py:any_of: raised KeyError: 'learning_rate'"):
        build(parse(f"{path}:any_of"))
    with pytest.raises(SpecError, match=r"needs learning_rate, as in mine.py:mine\(learning_rate"):
        build(parse(f"{path}:mine(scale=2)"))
    with pytest.raises(SpecError, match="takes no 'rate'; it takes no arguments"):
        parse(f"{path}:wrong(rate=2)")
    with pytest.raises(SpecError, match=r"mine.py has no 'mime'; did you mean 'mine'\?"):
        parse(f"{path}:mime")
    with pytest.raises(SpecError, match=r"there is no file .*mime.py; did you mean .*mine.py"):
        parse(f"{path.parent}/mime.py:mine")
    path.write_text("x = 1\nraise SystemExit(3)\n")
    with pytest.raises(SpecError, match=r"mine.py, line 2 \(raise SystemExit\(3\)\) raised Sys"):
        parse(f"{path}:mine")
    path.write_text("x = 1\ny = (\n")
    with pytest.raises(SpecError, match=r"mine.py, line 2 \(y = \(\) raised SyntaxError"):
        parse(f"{path}:mine")


def test_the_line_of_a_mistake_is_told_for_a_relative_path(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    path.write_text("x = 1\nraise SystemExit(3)\n")
    with pytest.raises(SpecError, match=r"mine.py, line 2 \(raise SystemExit\(3\)\) raised Sys"):
        parse("mine.py:mine")
    path.write_text("x = 1\ny = (\n")
    with pytest.raises(SpecError, match=r"mine.py, line 2 \(y = \(\) raised SyntaxError"):
        parse("mine.py:mine")


def test_mistakes_in_a_module_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(SpecError, match="importing needs_more raised No module named 'not_inst"):
        parse("needs_more:adam")
    (tmp_path / "breaks.py").write_text("1 / 0\n")
    with pytest.raises(SpecError, match="importing breaks raised ZeroDivisionError"):
        parse("breaks:adam")


def test_what_is_a_pair_of_functions_is_an_optimizer():
    ready = lo.sgd(0.1)
    assert specs.as_transformation(ready) is ready
    for other in (types, types.SimpleNamespace, (1, 2), (ready.init,), 3, None):
        assert specs.as_transformation(other) is None


def test_a_constructor_without_a_signature_takes_anything():
    spec = specs.OptimizerSpec("x", "x", constructor=max)
    assert takes(spec, "learning_rate")
