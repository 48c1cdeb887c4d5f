"""The architecture: who imports whom, how long things are, and what `import lecture_opt` costs.

Every rule is asked of every module, so that a failure names the module.
"""

import ast
import graphlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import lecture_opt as lo

PACKAGE = Path(lo.__file__).parent
LAYERS = (
    "numerics", "once", "environment", "files", "meshes", "pages", "equals",
    "losses", "models", "backprop", "gradient_flow", "optimizers", "rows", "training",
    "", "specs", "problems",
    "check", "inspect", "compare", "bench", "race", "exercises",
    "cli", "__main__",
)  # fmt: skip
"""In order: a layer imports only from those before it. "" is `lecture_opt` itself."""
JUDGES = ("check", "inspect", "compare", "bench", "race")
AMONG_JUDGES: dict[str, set[str]] = {"inspect": {"check"}}
"""The other judges that a judge may import."""
ROOMS = {
    "check": (
        ("outcome", "probes", "subject", "needs", "judgments"),
        ("diagnosis",),
        ("properties",),
        ("report", "battery", "table", "pytest_door", "__init__"),
    ),
    "compare": (
        ("schedules", "space", "protocol", "suites"),
        ("results", "ledger"),
        ("runs",),
        ("expectations",),
        ("show",),
        ("__init__",),
    ),
}
"""Inside a judge, in order: a room imports only from itself and from those before it."""
STRANGERS = {("compare.runs", "compare.show"), ("compare.show", "compare.runs")}
"""Rooms of which the first does not import the second, whatever their order."""
RUNTIME = {"jax", "jaxlib", "optax", "numpy", "lecture_opt"}
LONGEST_FILE, LONGEST_FUNCTION = 300, 50
SECTION = re.compile(r"(Args|Attributes|Example|Examples|Raises|Returns|Yields):")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
every_module = pytest.mark.parametrize("module", FILES)


def imports(module: str) -> set[str]:
    """The modules of this package that a module imports anywhere, in its functions too."""
    found = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute here"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in FILES else str(node.module) for name in names}
    return {name for name in found if name.partition(".")[0] == "lecture_opt"}


def layer(module: str) -> str:
    return f"{module}.".split(".")[1]


def room(module: str) -> str:
    """The part of a judge that a module lies in."""
    return f"{module}..".split(".")[2] or "__init__"


def home(module: str) -> str:
    """The package whose own business a module is: its folder, or itself right below the root."""
    if FILES[module].name == "__init__.py" or module.count(".") == 1:
        return module
    return module.rpartition(".")[0]


@every_module
def test_a_layer_imports_only_from_those_before_it(module):
    assert layer(module) in LAYERS, f"{module} belongs to no layer"
    for imported in imports(module) - {module}:
        mine, other = layer(module), layer(imported)
        if mine in JUDGES and other in JUDGES:
            allowed = other in {mine, *AMONG_JUDGES.get(mine, ())}
        else:
            allowed = other == mine or LAYERS.index(other) < LAYERS.index(mine)
        assert allowed, f"{module} imports {imported}, a layer that is not before its own"


@pytest.mark.parametrize("module", [m for m in FILES if layer(m) in ROOMS])
def test_inside_a_judge_a_room_imports_only_from_those_before_it(module):
    judge = layer(module)
    height = {name: i for i, names in enumerate(ROOMS[judge]) for name in names}
    assert room(module) in height, f"{module} belongs to no room"
    for imported in imports(module) - {module}:
        if layer(imported) == judge:
            mine, other = room(module), room(imported)
            assert height[other] <= height[mine], f"{module} imports {imported}, a room above"
            assert (f"{judge}.{mine}", f"{judge}.{other}") not in STRANGERS, (
                f"{module} imports {imported}, a room that it should not know"
            )


@pytest.mark.parametrize(
    "module", [m for m in FILES if m.startswith("lecture_opt.check.properties.")]
)
def test_a_property_imports_no_other_property(module):
    others = {name for name in imports(module) if ".check.properties" in name}
    assert not others, f"{module} imports {others}"


def test_no_modules_import_each_other():
    """In a circle of any length; imports in functions count, which would hide one."""
    graph = {module: imports(module) - {module, "lecture_opt"} for module in FILES}
    list(graphlib.TopologicalSorter(graph).static_order())


@every_module
def test_nothing_private_is_used_across_packages(module):
    for line, used, owner in private_uses(module):
        assert home(module) == owner, f"{module}:{line} uses {used}, which is private to {owner}"


def private_uses(module: str) -> list[tuple[int, str, str]]:
    """(line, what, whose) for each private name or module of this package that is used."""
    tree, found, known = TREES[module], [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("lecture_opt"):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = full
                parts = full.split(".")
                hidden = next((i for i, part in enumerate(parts) if is_private(part)), None)
                if hidden is not None:
                    owner = ".".join(parts[:hidden])
                    found.append((node.lineno, full, home(owner)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = known.get(node.value.id, "")
            if owner in FILES and is_private(node.attr):
                found.append((node.lineno, f"{owner}.{node.attr}", home(owner)))
    return found


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__")


@every_module
def test_a_file_is_short(module):
    lines = len(FILES[module].read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE


@every_module
def test_a_function_is_short(module):
    """Its docstring is not counted."""
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            assert lines <= LONGEST_FUNCTION, f"{module}:{node.lineno} {node.name}: {lines} lines"


@every_module
def test_sections_of_docstrings_are_indented_by_four(module):
    """And what they say of each name begins with a capital letter, or with no letter."""
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(TREES[module]):
        text = ast.get_docstring(node) if isinstance(node, nodes) else None
        section = ""
        for line in (text or "").splitlines():
            if line and not line.startswith(" "):
                found = SECTION.fullmatch(line)
                section = found[1] if found else ""
            elif line and section:
                assert line.startswith("    "), f"{module}: {line!r} of {section}"
                entry = re.match(r"    [*\w]\S*(?:, [*\w]\S*)*: (.)", line)
                if entry and section not in ("Example", "Examples", "Returns", "Yields"):
                    assert not entry[1].islower(), f"{module}: {line!r} of {section}"


def test_modules_are_imported_by_their_names():
    """Only the command looks a module up by a text."""
    lookups = re.compile(r"import_module\(f?[\"']lecture_opt")
    found = [name for name, path in FILES.items() if lookups.search(path.read_text())]
    assert found == ["lecture_opt.cli.dispatch"]


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
    internal = modules - {"backprop", "rows"}  # these two are exported as modules
    assert public - internal - {"lecture_opt"} == set(lo.__all__)


@pytest.mark.parametrize("name", lo.__all__)
def test_each_public_name_is_documented(name):
    """A function's docstring, or that of the module it is the point of, shows it in use."""
    documented = getattr(lo, name)
    assert documented.__doc__
    if inspect.isfunction(documented):
        module = inspect.getmodule(documented).__doc__
        assert ">>>" in documented.__doc__ or f" {name}(" in module.partition(">>>")[2]
