"""The architecture: who imports whom, what `import lecture_opt` costs, and what it exports."""

import ast
import graphlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import lecture_opt as lo

PACKAGE = Path(lo.__file__).parent
FIRST = (
    "numerics", "meshes", "losses", "models", "optimizers", "rows", "backprop", "training", "specs",
)  # fmt: skip
"""The core and the loop, in order. What isn't named here is a judge, above all of them."""
LAST = ("cli", "__main__")
RUNTIME = {"jax", "jaxlib", "optax", "numpy", "lecture_opt"}


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(module: str, statements: list[ast.AST]) -> set[str]:
    """The modules of this package that the statements import."""
    found = set()
    for node in statements:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in FILES else str(node.module) for name in names}
    return {name for name in found if name.partition(".")[0] == "lecture_opt"}


def layer(module: str) -> str:
    return f"{module}.".split(".")[1]


def rank(module: str) -> int:
    name = layer(module)
    if name in FIRST:
        return FIRST.index(name)
    return len(FIRST) + (name in LAST)


@pytest.mark.parametrize("module", [m for m in FILES if layer(m)])
def test_a_layer_imports_only_from_those_before_it(module):
    for imported in imports(module, list(ast.walk(ast.parse(FILES[module].read_text())))):
        assert imported != "lecture_opt" or rank(module) >= len(FIRST), (
            f"{module} imports lecture_opt itself; the core imports its modules by name"
        )
        if imported != "lecture_opt" and layer(imported) != layer(module):
            allowed = rank(imported) < rank(module) or rank(imported) == len(FIRST)
            assert allowed, f"{module} imports {imported}, a layer that is not before its own"


def test_no_two_modules_import_each_other():
    """Imports in functions are left out: they run when all modules are there."""
    graph = {
        module: imports(module, list(ast.parse(path.read_text()).body)) - {module, "lecture_opt"}
        for module, path in FILES.items()
    }
    list(graphlib.TopologicalSorter(graph).static_order())


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that are loaded after the statement, in a fresh interpreter."""
    program = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_package_loads_jax_optax_and_numpy_alone():
    brought = loaded_by("import jax, optax, numpy")
    extra = loaded_by("import lecture_opt") - brought - RUNTIME
    assert extra <= set(sys.stdlib_module_names), extra


def test_importing_the_package_starts_no_device():
    """Whoever imports it may still choose a platform or join other processes."""
    program = (
        "import lecture_opt, jax; jax.config.update('jax_num_cpu_devices', 2); "
        "print(jax.device_count('cpu'))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "2\n"


def test_each_public_name_is_exported_once():
    assert lo.__all__ == sorted(set(lo.__all__))
    objects = [getattr(lo, name) for name in lo.__all__]
    assert len({id(o) for o in objects}) == len(objects)
    public = {name for name in vars(lo) if not name.startswith("_")}
    modules = {name for name in public if f"lecture_opt.{name}" in sys.modules}
    internal = modules - {"backprop", "rows"}  # exported as modules, as gradient_flow is
    assert public - internal - {"lecture_opt"} == set(lo.__all__)


@pytest.mark.parametrize("name", lo.__all__)
def test_each_public_name_is_documented(name):
    """A function's docstring, or that of the module it is the point of, shows it in use."""
    documented = getattr(lo, name)
    assert documented.__doc__
    if inspect.isfunction(documented):
        module = inspect.getmodule(documented).__doc__
        assert ">>>" in documented.__doc__ or f" {name}(" in module.partition(">>>")[2]
