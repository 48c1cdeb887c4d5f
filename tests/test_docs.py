"""The reference pages: every public name is on one of them, and has a docstring."""

import inspect
import re
from pathlib import Path

import pytest

import lecture_opt as lo

PAGES = Path(__file__).parent.parent / "examples" / "reference"
MODULES = {
    module
    for page in PAGES.glob("*.md")
    for module in re.findall(r"^(?:public|::): ?(\S+)$", page.read_text(), re.MULTILINE)
}


@pytest.mark.parametrize("name", lo.__all__)
def test_public_names_are_on_a_page_and_documented(name):
    value = getattr(lo, name)
    if inspect.ismodule(value):
        module = value.__name__
    elif inspect.isfunction(value) or inspect.isclass(value):
        module = value.__module__
    else:
        return  # a Model such as relu: documented as the function that makes it is
    package = ".".join(module.split(".")[:2])
    assert package in MODULES, f"{package} is on none of {PAGES}"
    assert value.__doc__
