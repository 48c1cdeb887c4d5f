"""Pages that are one file: styles, scripts and data inside, and a policy that lets nothing out.

    render("lecture_opt.race", "race.html", scripts=[...], styles=[...], data={...})

The content security policy allows no request at all, and no script or style but these, by their
hashes: text that came with the data can do nothing, should it ever slip through the escaping.
"""

import base64
import hashlib
import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

import jinja2
from markupsafe import Markup


def render(
    package: str,
    template: str,
    *,
    scripts: Sequence[str],
    styles: Sequence[str],
    data: Any,
    **values: Any,
) -> str:
    """The page as text; the same arguments give the same text.

    Args:
        package: The package whose folder `page` holds the template, the scripts and the styles.
        template: Name of a jinja2 template that extends `base.html`; everything in it is escaped.
        scripts, styles: File names, put into the page in this order after the common ones.
        data: What the scripts read, as strict JSON.
        **values: What the template reads.
    """
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: _find(package, name)),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = "\n".join(_find(package, name) for name in ("theme.js", *scripts))
    style = "\n".join(_find(package, name) for name in ("base.css", *styles))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return environment.get_template(template).render(
        policy=Markup(policy),  # made here, of hashes
        script=Markup(script),  # files of this package
        style=Markup(style),
        data=json_for_script(data),
        **values,
    )


def json_for_script(data: Any) -> Markup:
    r"""Strict JSON that can stand inside a script element: no text in it can end the element.

    >>> print(json_for_script({"name": "</script>"}))
    {"name":"\u003c/script\u003e"}
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # escaped above


def _find(package: str, name: str) -> str:
    """The text of a file of the package's page, or of the common ones."""
    for home in (
        importlib.resources.files(package) / "page",
        importlib.resources.files("lecture_opt.pages"),
    ):
        if (home / name).is_file():
            return (home / name).read_text(encoding="utf-8")
    raise FileNotFoundError(f"render: {package} has no page/{name}")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"
