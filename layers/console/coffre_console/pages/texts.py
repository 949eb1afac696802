"""The words of pages, from `texts.toml`, and which language a reader wants."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from coffre.model.words import size, span
from coffre_console.access.language import LANGUAGES, language_of
from coffre_console.access.request import Request

_FRENCH_SPAN: Final = (("days", "jours"), ("day", "jour"))


@cache
def texts() -> Mapping[str, tuple[str, str]]:
    """Return the texts by their keys, each in the order of `LANGUAGES`."""
    found: dict[str, tuple[str, str]] = {}
    for name, one in tomllib.loads(Path(__file__).with_suffix(".toml").read_text()).items():
        group = {f"{name}.{key}": text for key, text in one.items()} if isinstance(one, dict) else {name: one}
        found |= {key: (english, french) for key, (english, french) in group.items()}
    return found


@dataclass(frozen=True)
class Words:
    """The words of one language, and numbers as its readers write them."""

    language: str

    @property
    def other(self) -> str:
        """The language that the page's switch leads to."""
        return next(one for one in LANGUAGES if one != self.language)

    def __call__(self, key: str, **values: object) -> str:
        """Return a text. A key that does not exist is a defect: `KeyError`."""
        text = texts()[key][LANGUAGES.index(self.language)]
        return text.format(**values) if values else text

    def counted(self, count: int | None, key: str) -> str:
        """Return a number with its noun: the texts `key.one` and `key.many`; of nothing, nothing."""
        if count is None:
            return ""
        singular = count == 1 or (count == 0 and self.language == "fr")
        return self(f"{key}.one" if singular else f"{key}.many", count=self.number(count))

    def number(self, count: int | None) -> str:
        """Return an integer with groups of three digits; of nothing, nothing."""
        return "" if count is None else f"{count:,}".replace(",", "\u202f" if self.language == "fr" else ",")

    def size(self, count: float | None) -> str:
        """Return a number of bytes: `1.5 MB`, `1,5 Mo`."""
        text = size(count)
        return text.replace(".", ",").replace("B", "o") if self.language == "fr" else text

    def span(self, seconds: float | None) -> str:
        """Return a duration: `1 day 4 h`, `1 jour 4 h`; of nothing, nothing."""
        if seconds is None:
            return ""
        text = span(seconds)
        for word, french in _FRENCH_SPAN if self.language == "fr" else ():
            text = text.replace(word, french)
        return text

    def ago(self, seconds: float) -> str:
        """Return how long ago something was."""
        return self("just_now") if seconds < 10 else self("ago", span=self.span(seconds))


def words_of(request: Request | None) -> Words:
    """Return the words of the language that a reader wants."""
    return Words(language_of(request))
