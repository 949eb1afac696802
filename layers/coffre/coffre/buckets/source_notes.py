"""What a source of objects has to say besides its objects."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Remarks:
    """Remarks of several threads, each with how often.

    Attributes
    ----------
    notes, missing
        What is worth knowing, and what about objects could not be read and is not in the backup.
    """

    notes: Counter[str] = field(default_factory=Counter, kw_only=True)
    missing: Counter[str] = field(default_factory=Counter, kw_only=True)
    # A question that is asked under it may end in a note.
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def note(self, text: str, times: int = 1) -> None:
        """Record what is worth knowing."""
        if times:
            with self._lock:
                self.notes[text] += times

    def miss(self, text: str) -> None:
        """Record what is not in the backup."""
        with self._lock:
            self.missing[text] += 1
