"""Every relative link of the documentation leads to a file that exists, and to a heading of it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest
from tests.unit.cli.docs.pages import ROOT, WITH_LINKS, name_of, prose_of

_LINK: Final = re.compile(r"\[[^\]]*\]\(([^()\s]+)(?: \"[^\"]*\")?\)")
_REFERENCE: Final = re.compile(r"^\[[^\]]+\]: (\S+)$", re.MULTILINE)
_HEADING: Final = re.compile(r"^#{1,6} +(.+?) *#*$", re.MULTILINE)
_ANCHOR: Final = re.compile(r"<a (?:id|name)=\"([^\"]+)\"")


@pytest.mark.parametrize("page", WITH_LINKS, ids=name_of)
def test_links_of_a_page_resolve(page: Path) -> None:
    prose = re.sub(r"`[^`\n]*`", "", prose_of(page))
    links = [*_LINK.findall(prose), *_REFERENCE.findall(prose)]

    broken = [problem for link in links if (problem := problem_of(page, link))]

    assert not broken, f"{name_of(page)}:\n" + "\n".join(broken)


def problem_of(page: Path, link: str) -> str | None:
    """Return what is wrong with a link; links to other places are not followed."""
    if re.match(r"[a-z]+:", link):
        return None
    path, _, anchor = link.partition("#")
    place = (page.parent / path).resolve() if path else page
    if not place.exists() or not place.is_relative_to(ROOT):
        return f"{link}: {path} does not exist"
    if anchor and place.suffix == ".md" and anchor not in anchors_of(place):
        return f"{link}: no heading of {name_of(place)} is #{anchor}"
    return None


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """Return the anchors that GitHub gives to headings: words in lower case with hyphens, numbered when they repeat."""
    prose = prose_of(page)
    found: list[str] = []
    seen: dict[str, int] = {}
    for heading in _HEADING.findall(prose):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.append(f"{slug}-{seen[slug]}" if slug in seen else slug)
        seen[slug] = seen.get(slug, 0) + 1
    return frozenset([*found, *_ANCHOR.findall(prose)])


def test_a_broken_link_is_found() -> None:
    assert problem_of(ROOT / "README.md", "docs/nowhere.md")
    assert problem_of(ROOT / "README.md", "docs/restore.md#nowhere")
    assert problem_of(ROOT / "README.md", "docs/restore.md") is None
