"""Figures are saved as PNG alone, except where a test looks at them: fonts in PDFs take seconds."""

import pytest

from lecture_opt.pages import paper

FORMATS = paper.FORMATS


@pytest.fixture(scope="package", autouse=True)
def one_format():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paper, "FORMATS", ("png",))
        yield


@pytest.fixture
def every_format(monkeypatch):
    monkeypatch.setattr(paper, "FORMATS", FORMATS)
