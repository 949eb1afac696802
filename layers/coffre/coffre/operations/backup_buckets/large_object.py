"""A large object that is read by several invocations, one after another: what is stored of it, and how to continue."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.buckets.changes import SourceObject
from coffre.operations.backup_buckets import job
from coffre.vault.bucket_progress import BegunObject
from coffre.vault.entries import Begun
from coffre.vault.resumable_hash import ResumableSha256, is_available


@dataclass
class LargeObject:
    """The large object of a part, which has no other.

    Parameters
    ----------
    earlier
        What earlier invocations have stored of such objects.
    """

    earlier: tuple[BegunObject, ...] = ()
    _found: SourceObject | None = None
    _begun: Begun | None = None
    _start: int = 0

    def size_stored(self, found: SourceObject) -> int:
        """Return how many bytes of an object are stored already, as long as it is the same."""
        earlier = self._earlier(found)
        return sum(frame.size for frame in earlier.frames) if earlier else 0

    def begin(self, found: SourceObject, *, is_again: bool = False) -> Begun | None:
        """Return what to note the stored frames in, with those of earlier invocations; None: it is not that large.

        An object that is read once more (`is_again`) begins with its first byte.
        """
        self.end()
        if found.listed.size < job.LARGE_BYTES or found.listed.etag is None or not is_available():
            return None
        self._found, self._begun = found, Begun()
        earlier = None if is_again else self._earlier(found)
        if earlier is not None:
            whole = ResumableSha256.of_state(earlier.hash_state, self.size_stored(found))
            self._begun = Begun(whole, list(earlier.frames))
        self._start = self._begun.size
        return self._begun

    def end(self) -> None:
        """Forget it: it is read to its end, or given up."""
        self._found = self._begun = None

    @property
    def is_begun(self) -> bool:
        """Whether the reading of an object ended in the middle of it, and came further than earlier invocations."""
        begun = self._begun
        return begun is not None and self._start < begun.size == begun.whole.size

    def begun(self) -> BegunObject:
        """Return what the next invocation has to know."""
        assert self._found is not None and self._begun is not None  # noqa: S101, PT018 - for mypy
        name, etag, size = _seen(self._found)
        return BegunObject(
            name=name,
            etag=etag or "",
            size=size,
            hash_state=self._begun.whole.state(),
            frames=tuple(self._begun.frames),
        )

    def _earlier(self, found: SourceObject) -> BegunObject | None:
        earlier = next((one for one in self.earlier if (one.name, one.etag, one.size) == _seen(found)), None)
        return earlier if earlier is not None and is_available() else None


def _seen(found: SourceObject) -> tuple[str, str | None, int]:
    return found.name, found.listed.etag, found.listed.size
