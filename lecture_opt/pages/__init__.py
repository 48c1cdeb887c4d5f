"""Pages that are one file, and the colours that figures and pages share."""

from lecture_opt.pages.render import json_for_script, render

__all__ = ["json_for_script", "render"]
