"""The pages: every public name has an entry and a docstring, and the site is as it should be."""

import html
import inspect
import json
import re
import subprocess
import sys
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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="mkdocs is in the extra docs")
    folder = tmp_path_factory.mktemp("site")
    config = PAGES.parent.parent / ".ci" / "mkdocs.yml"
    build = [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-f", config, "-d", folder]
    subprocess.run(build, check=True)
    return folder


@pytest.mark.slow
def test_no_page_asks_another_host(site):
    for page in site.rglob("*.html"):
        loaded = r"<(?:script|img|link)[^>]+(?:src|href)=.(?:https?:)?//(?!fonts)[^>]*>"
        found = [tag for tag in re.findall(loaded, page.read_text()) if "canonical" not in tag]
        assert not found, page


@pytest.mark.slow
def test_every_formula_is_converted_and_the_font_has_its_characters(site):
    ttlib = pytest.importorskip("fontTools.ttLib", reason="fontTools comes with matplotlib")
    font = ttlib.TTFont(site / "reference" / "math.woff")
    assert "MATH" in font  # what lets braces and roots stretch
    for page in site.rglob("*.html"):
        text = page.read_text()
        assert "arithmatex" not in text, page
        formulas = " ".join(re.findall(r"<math.*?</math>", text, flags=re.DOTALL))
        shown = html.unescape(re.sub(r"<[^>]+>", "", formulas))
        missing = {c for c in shown if not c.isspace() and ord(c) not in font.getBestCmap()}
        assert not missing, f"{page}: the font lacks {missing}"


@pytest.mark.slow
def test_the_optimizers_stand_in_the_order_of_the_slides(site):
    text = (site / "reference" / "optimizers.html").read_text()
    order = ("sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam")
    places = [re.search(rf'<h2 id="lecture_opt\.optimizers\.\w+\.{name}"', text) for name in order]
    starts = [place.start() for place in places if place]
    assert len(starts) == len(order)
    assert starts == sorted(starts)


@pytest.mark.slow
@pytest.mark.parametrize("words", ["install", "weight decay", "verosimilitud", "likelihood"])
def test_the_search_finds(site, words):
    index = json.loads((site / "search" / "search_index.json").read_text())
    assert any(words in entry["text"] for entry in index["docs"])
