"""How much a step of a drain reads, and by which way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from coffre.model.errors import JournalError, TransientError

# How far a step is made smaller, by what stands against a larger one. A single transaction is never divided.
_SMALLEST_STEP_BYTES: Final = {"JOURNAL_TOO_LARGE": 1 << 16, "JOURNAL_UNREADABLE": 1}
# The record of a commit has more: two of them do not end within.
_WITHIN_A_COMMIT_BYTES: Final = 32


@dataclass
class Pace:
    """How much WAL a step reads, and by which way: a stream has room for any transaction, and begins to send sooner.

    `cause` is why the other way was taken, or why there is no other; `passing` is why there is no stream for now.
    Without a stream, what comes before a transaction that has no room is found by halves: it ends within `too_far`.
    """

    step_bytes: int
    most_bytes: int
    by_stream: bool = False
    has_stream: bool = True
    cause: JournalError | None = None
    passing: TransientError | None = None
    too_far: int | None = None

    def is_changed_for(self, error: JournalError) -> bool:
        """Take a smaller step, or the other way, after an error; False: nothing is left to try."""
        if error.code == "JOURNAL_NO_STREAM" and self.has_stream:
            self.by_stream = self.has_stream = False
            self.passing = error.__cause__ if isinstance(error.__cause__, TransientError) else None
            return self.cause is None or (self.passing is None and self._is_halved(self.too_far))
        if error.code == "JOURNAL_TOO_LARGE" and not self.has_stream and self.too_far is not None:
            return self._is_halved(self.step_bytes)
        if self.step_bytes > _SMALLEST_STEP_BYTES.get(error.code, self.step_bytes):
            self.step_bytes = max(self.step_bytes // 8, 1)
            return True
        self.cause = None
        if error.code == "JOURNAL_TOO_LARGE" and self.has_stream and not self.by_stream:
            self.too_far, self.step_bytes, self.by_stream, self.cause = self.step_bytes, self.most_bytes, True, error
            return True
        return False

    def _is_halved(self, too_far: int | None) -> bool:
        """Take half of what has no room, as each look takes the server through all of it; False: nothing is left."""
        if too_far is None or too_far <= _WITHIN_A_COMMIT_BYTES:
            return False
        self.too_far, self.step_bytes = too_far, max(too_far // 2, _WITHIN_A_COMMIT_BYTES)
        return True

    def has_read(self, transactions: int, log_bytes: int) -> None:
        """Let the next step be twice as large while none ends, since each begins where the longest open one does."""
        if self.too_far is not None and not self.by_stream and log_bytes < self.too_far:
            self.too_far = max(self.too_far - log_bytes, _WITHIN_A_COMMIT_BYTES)
            self.step_bytes = max(self.too_far // 2, _WITHIN_A_COMMIT_BYTES)
            return
        self.too_far = self.cause = None  # it is stored
        self.step_bytes = min(self.step_bytes, self.most_bytes) if transactions else 2 * self.step_bytes

    def require_stream(self) -> None:
        """Raise why there is no stream for now: the next drain may have one, and nothing ends before."""
        if self.passing is not None:
            raise self.passing
