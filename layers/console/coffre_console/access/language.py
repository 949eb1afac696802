"""Which language a reader wants: the one that was chosen, or the one that the browser prefers."""

from __future__ import annotations

from typing import Final

from coffre_console.access.request import Request

LANGUAGES: Final = ("en", "fr")
LANGUAGE_COOKIE: Final = "__Host-language"


def language_of(request: Request | None) -> str:
    """Return the language that a reader has chosen, or that the browser prefers; English for any other."""
    if request is None:
        return "en"
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else _preferred(request.headers.get("accept-language", ""))


def _preferred(header: str) -> str:
    """Return the first of our languages by the header's weights (RFC 9110, 12.5.4)."""
    wanted: list[tuple[float, str]] = []
    for one in header[:500].split(","):
        tag, _, weight = one.partition(";")
        language = tag.strip().lower().partition("-")[0]
        if language in LANGUAGES:
            wanted.append((_weight(weight), language))
    best = max(wanted, key=lambda pair: pair[0], default=(0.0, "en"))
    return best[1] if best[0] > 0 else "en"


def _weight(text: str) -> float:
    name, _, value = text.strip().partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
