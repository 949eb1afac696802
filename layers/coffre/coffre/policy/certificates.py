"""When a certificate's end is near enough to be reported."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

# Certificates of 90 days are renewed by themselves when a third of their life is left: a fifth is too late for that.
_DAYS: Final = timedelta(days=30)
_SHARE_OF_LIFE: Final = 5


def ends_soon(begins: datetime, ends: datetime, now: datetime) -> bool:
    """Return whether it has to be renewed by hand: 30 days before its end, or in the last fifth of a shorter life."""
    return ends - now < min(_DAYS, (ends - begins) / _SHARE_OF_LIFE)
