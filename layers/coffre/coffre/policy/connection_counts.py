"""How many connections read in parallel."""

from __future__ import annotations

from typing import Final

# On few cores more streams than cores: while one waits for its server process or for the vault, another works.
_LEAST_BY_DEFAULT: Final = 4
# Left to the applications, besides half of what is free.
_HEADROOM: Final = 3


def default_streams(cores: int) -> int:
    """Return how many streams to want when the configuration does not say it."""
    return max(cores, _LEAST_BY_DEFAULT)


def streams_that_fit(wanted: int, free: int) -> int:
    """Return how many of the wanted streams to open when the server can take `free` more connections."""
    return max(1, min(wanted, free - max(_HEADROOM, (free + 1) // 2)))
