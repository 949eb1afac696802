"""When the bundles of a repository are replaced by one that has everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# A restore reads each of them. A daily backup of a busy repository reaches it every two months.
_LONGEST: Final = 60


def is_full_due(sizes: Sequence[int]) -> bool:
    """Return whether the next bundle has to be a full one, given the sizes of the chain so far, the full one first.

    It has to when none exists, when the chain is long, and when what was added is more than what it was added to: then
    a repository takes at most twice its size, besides backups that are kept anyway.
    """
    return not sizes or len(sizes) >= _LONGEST or sum(sizes[1:]) > sizes[0]
