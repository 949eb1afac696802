"""A value that the other side may refuse, because it was changed after it was read: a password, an access key."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Renewal[T]:
    """The value in use, which is read again once: after the first refusal. Safe to use from several threads.

    Parameters
    ----------
    value
        As it was read first.
    read_again
        Gets the value that was refused, and returns the one to try now. None: there is none, and the refusal counts.
    """

    def __init__(self, value: T, read_again: Callable[[T], T | None]) -> None:
        self._value = value
        self._read_again = read_again
        self._was_read_again = False
        self._lock = threading.Lock()

    def current(self) -> T:
        """Return the value to use now."""
        return self._value

    def is_worth_another(self, refused: T) -> bool:
        """Return whether to try again, with `current`, after this value was refused."""
        with self._lock:
            if self._value != refused:
                return True  # another thread met the refusal first
            if self._was_read_again:
                return False
            self._was_read_again = True
            found = self._read_again(refused)
            if found is not None:
                self._value = found
            return found is not None
