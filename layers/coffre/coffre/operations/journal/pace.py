"""How much a step of a drain reads, and by which way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coffre.model.errors import JournalError, TransientError

# A single transaction is never divided. What is too large has more than that, as a rule: another way is tried before.
_SMALLER_FOR: Final = ("JOURNAL_TOO_LARGE", "JOURNAL_UNREADABLE")
_SMALL_STEP_BYTES: Final = 1 << 16


@dataclass
class Pace:
    """How much WAL a step reads, and by which way: a stream has room for any transaction, and begins to send sooner.

    `is_too_large`: a SELECT had no room for a small step. `passing` is why there is no stream for now.
    """

    step_bytes: int
    most_bytes: int
    by_stream: bool = False
    has_stream: bool = True
    is_too_large: bool = False
    passing: TransientError | None = None

    def is_changed_for(self, error: JournalError) -> bool:
        """Take a smaller step, or the other way, after an error.

        False: nothing is left to try, and everything before the first transaction with this error is stored.
        """
        if error.code == "JOURNAL_NO_STREAM" and self.has_stream:
            self.by_stream = self.has_stream = False
            self.passing = error.__cause__ if isinstance(error.__cause__, TransientError) else None
            self.step_bytes = _SMALL_STEP_BYTES if self.is_too_large else self.step_bytes
            return True
        if error.code not in _SMALLER_FOR:
            return False
        has_another = error.code == "JOURNAL_TOO_LARGE" and self.has_stream and not self.by_stream
        if self.step_bytes > (_SMALL_STEP_BYTES if has_another else 1):
            self.step_bytes = max(self.step_bytes // 8, 1)
            return True
        if has_another:
            self.step_bytes, self.by_stream, self.is_too_large = self.most_bytes, True, True
        return has_another

    def has_read(self, transactions: int) -> None:
        """Let the next step be twice as large while none ends, since each begins where the longest open one does."""
        self.step_bytes = min(self.step_bytes, self.most_bytes) if transactions else 2 * self.step_bytes

    def require_stream(self) -> None:
        """Raise why there is no stream for now: the next drain may have one, and nothing ends before."""
        if self.passing is not None:
            raise self.passing
