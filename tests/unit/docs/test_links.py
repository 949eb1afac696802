"""Links between the pages lead somewhere, and the index knows every page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest
from tests.unit.docs.pages import ROOT, pages

_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ (.*)$", re.MULTILINE)
_CODE: Final = re.compile(r"```.*?```", re.DOTALL)
# Found by their kind of alert, or from one page alone.
_NOT_IN_THE_INDEX: Final = ("docs/runbooks/", "docs/index.md", "docs/format/", "docs/providers/")


@pytest.mark.parametrize("page", [*pages(), *sorted((ROOT / "docs/adr").glob("*.md"))], ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = [link for link in _LINK.findall(_CODE.sub("", page.read_text())) if not leads_somewhere(page, link)]

    assert not broken, f"{page.relative_to(ROOT)}: {broken}"


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("docs/restore.md", True),
        ("docs/restore.md#i-dropped-a-table", True),
        ("#commands", True),
        ("docs/nosuch.md", False),
        ("docs/restore.md#nosuch", False),
        ("#nosuch", False),
    ],
)
def test_a_broken_link_is_found(link: str, leads: bool) -> None:
    assert leads_somewhere(ROOT / "README.md", link) is leads


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text()
    names = [str(page.relative_to(ROOT)) for page in pages() if page.is_relative_to(ROOT / "docs")]

    missing = [
        name
        for name in names
        if not name.startswith(_NOT_IN_THE_INDEX) and f"({name.removeprefix('docs/')})" not in index
    ]
    assert not missing


def leads_somewhere(page: Path, link: str) -> bool:
    """Return whether a link of a page is one to elsewhere, or to a file and a heading that exist."""
    if re.match(r"[a-z]+:", link):
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or target.suffix != ".md" or anchor in anchors_of(target)


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = _HEADING.findall(_CODE.sub("", page.read_text()))
    slugs = [re.sub(r"[^\w\- ]", "", _LINK.sub("]", heading).lower()).strip().replace(" ", "-") for heading in headings]
    return {slug if not slugs[:at].count(slug) else f"{slug}-{slugs[:at].count(slug)}" for at, slug in enumerate(slugs)}
