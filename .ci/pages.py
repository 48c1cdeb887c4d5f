"""What the pages need beyond mkdocs: formulas as MathML, docstrings' examples as code."""

import html
import importlib
import re
from pathlib import Path

import griffe
from latex2mathml.converter import convert

_FORMULA = re.compile(
    r'<(span|div) class="arithmatex">(?:\\\((.*?)\\\)|\\\[(.*?)\\\])</\1>', re.DOTALL
)
_LOG = re.compile(r"<mi>(?:log|exp)</mi>(?!<mo)")
_PROMPT = re.compile(r"(?:^|(?<=\n\n))( *)>>> .*?(?=\n\n|\Z)", re.DOTALL)
_ARGS = re.compile(r"^Args:\n(?: +.*\n?)+", re.MULTILINE)
_JOINT = re.compile(r"^( +)(\w+(?:, \w+)+): (.*\n(?:\1 .*\n)*)", re.MULTILINE)
_PUBLIC = re.compile(r"^public: (\S+)$", re.MULTILINE)
_INCLUDE = re.compile(r"^include: (\S+)$", re.MULTILINE)
_HEADING = re.compile(r"^#(?=#* )", re.MULTILINE)
_ROOT = Path(__file__).parent.parent


def on_page_markdown(markdown, **_):
    """A hook of mkdocs, for two lines that stand for more.

    `public: MODULE` becomes an entry for each public name: functions before classes, and those that
    the page names first. `include: FILE` becomes the text of a file of this repository, one level
    down.
    """
    named = list(dict.fromkeys(re.findall(r"`(\w+)", markdown)))
    entries = _PUBLIC.sub(lambda match: "\n\n".join(_entries(match[1], named)), markdown)
    return _INCLUDE.sub(lambda match: _HEADING.sub("##", _text(match[1])), entries)


def _text(path):
    return (_ROOT / path).read_text(encoding="utf-8")


def _entries(module_name, named):
    module = importlib.import_module(module_name)

    def order(name):
        is_class = isinstance(getattr(module, name), type)
        return is_class, named.index(name) if name in named else len(named)

    for name in sorted(module.__all__, key=order):
        value = getattr(module, name)
        if callable(value) and not isinstance(value, tuple):
            if not value.__doc__:
                raise ValueError(f"{module_name}.{name} has no docstring")
            yield f"::: {value.__module__}.{value.__qualname__}"


def on_page_content(content, **_):
    """A hook of mkdocs: no page needs a script, and so no other host, to show a formula."""
    return _FORMULA.sub(_mathml, content)


def _mathml(match):
    inline, block = match[2], match[3]
    if block is not None:
        return f'<div class="formula">{_converted(block, "block")}</div>'
    formula = html.unescape(inline)
    parts = _parts(formula) if len(formula) > 30 else [formula]
    return " ".join(_converted(part, "inline") for part in parts)


def _converted(formula, display):
    # The converter keeps the backslash of \_ in a name.
    mathml = convert(html.unescape(formula).strip(), display=display).replace(r"\_", "_")
    return _LOG.sub(r"\g<0><mspace width='0.17em'/>", mathml)


def _parts(formula):
    """A long inline formula cut before each `=` outside braces, where a line may then break."""
    depth, part = 0, ""
    for character in formula:
        depth += (character in "{([") - (character in "})]")
        if character == "=" and depth == 0 and part.strip():
            yield part
            part = ""
        part += character
    yield part


class Examples(griffe.Extension):
    """Puts docstrings as griffe reads them: sections, arguments one by one, prompts as code."""

    def on_object(self, *, obj, **_):
        """Called by griffe for every module, class, function and attribute."""
        if obj.docstring is not None:
            text = obj.docstring.value.replace("Example:\n", "Examples:\n")
            text = _ARGS.sub(lambda args: _JOINT.sub(_apart, args[0]), text)
            obj.docstring.value = _PROMPT.sub(_fenced, text)


def _fenced(match):
    """A prompt that stands in no section, which is to say at the margin, as a code block."""
    return match[0] if match[1] else f"```pycon\n{match[0]}\n```"


def _apart(match):
    """`b1, b2: text` as an argument each, with the same text."""
    indent, names, text = match.groups()
    return "".join(f"{indent}{name}: {text}" for name in names.split(", "))
