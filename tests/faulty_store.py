"""An object store in memory whose calls fail as real ones do: refused, lost on the way there, lost on the way back."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError, StoreTransientError
from coffre.stores.body import Body, sha256_of
from coffre.stores.store import ObjectInfo, Store, check_key


class KilledError(BaseException):
    """The process ends here: no handler of the code may run that could still store something."""


class Fault(StrEnum):
    """What happens to one call."""

    NONE = "none"
    REFUSED = "refused"
    LOST = "lost"
    ANSWER_LOST = "answer lost"
    KILLED_BEFORE = "killed before"
    KILLED_AFTER = "killed after"


@dataclass
class FaultyStore(Store):
    """Objects by key. `decide` says what happens to each call; `after` sees the store after each call that wrote.

    Safe to use from several threads.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    decide: Callable[[str, str], Fault] = lambda _call, _key: Fault.NONE
    after: Callable[[], None] = lambda: None
    requests: Counter[str] = field(default_factory=Counter)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        check_key(key)
        content = body if isinstance(body, bytes) else b"".join(body)
        assert sha256_of(content) == sha256

        def write() -> None:
            if if_absent and key in self.objects:
                raise StoreError(f"{key} exists.", code="OBJECT_EXISTS")
            self.objects[key] = content

        self._call("put", key, write)
        self.after()

    def get(self, key: str, *, limit_bytes: int = 2**26) -> bytes:
        def read() -> bytes:
            body = self._existing(key)
            if len(body) > limit_bytes:
                raise StoreError(f"{key} is large.", code="OBJECT_TOO_LARGE")
            return body

        return self._call("get", key, read)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        def read() -> bytes:
            found = self._existing(key)[offset : offset + length]
            if len(found) < length:
                raise IntegrityError(f"{key} is short.", code="OBJECT_TRUNCATED")
            return found

        return self._call("get", key, read)

    def head(self, key: str) -> ObjectInfo:
        return self._call("head", key, lambda: ObjectInfo(key, len(self._existing(key)), sha256_of(self.objects[key])))

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        found = self._call("list", prefix, lambda: sorted(key for key in self.objects if key.startswith(prefix)))
        for key in found:
            body = self.objects.get(key)
            if body is not None:
                yield ObjectInfo(key, len(body))

    def delete(self, key: str) -> None:
        self._call("delete", key, lambda: self.objects.pop(key, None))
        self.after()

    def _existing(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise ObjectMissingError(f"{key} does not exist.") from None

    def _call[R](self, call: str, key: str, work: Callable[[], R]) -> R:
        with self._lock:
            self.requests[call] += 1
            fault = self.decide(call, key)
            if fault is Fault.KILLED_BEFORE:
                raise KilledError
            if fault is Fault.REFUSED:
                raise StoreError("Access denied.", code="STORE_DENIED")
            if fault is Fault.LOST:
                raise StoreTransientError("The store did not answer.")
            answer = work()
        if fault is Fault.KILLED_AFTER:
            raise KilledError
        if fault is Fault.ANSWER_LOST:
            raise StoreTransientError("The store did not answer.")
        return answer
