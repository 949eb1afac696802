"""What a list says of the catalog's records that cannot be read: they hide no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from coffre.model.errors import IntegrityError
from coffre_console.reading.source import May, everyone

_NOT_NAMED: Final = "A record of the catalog cannot be read. Who has a role for all targets sees which, and what to do."


def unread_of(damaged: Sequence[IntegrityError], may: May) -> tuple[str, ...]:
    """Return sentences: which records, and what to do. What they are about is not known: not all may see that."""
    if may is everyone:
        return tuple(f"{one.message} {one.hint}" for one in damaged)
    return (_NOT_NAMED,) if damaged else ()
