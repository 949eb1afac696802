"""Objects that a backup could not read, counted by reason: one sentence for each reason."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from coffre.model.errors import CoffreError
from coffre.vault.bucket_progress import UnreadGroup

# Number of objects that are named for each reason, and number of reasons that are counted separately.
_NAMED: Final = 10
_GROUPS: Final = 30
_REQUEST: Final = re.compile(r" \(request [^)]*\)")
# Stands for the object's name in a reason.
_PLACE: Final = "\0"
_OTHERS: Final = "for other reasons, which their entries name"


class Unread:
    """Counts objects by bucket, code and reason.

    Parameters
    ----------
    groups
        Counted by an earlier invocation.
    """

    def __init__(self, groups: Iterable[UnreadGroup] = ()) -> None:
        self._groups = {(group.bucket, group.code, group.reason): group for group in groups}

    @property
    def groups(self) -> tuple[UnreadGroup, ...]:
        """The counts, one group for each reason."""
        return tuple(self._groups.values())

    @property
    def count(self) -> int:
        """The number of objects that are not in the backup."""
        return sum(group.count for group in self.groups if not group.is_stored)

    def add(self, bucket: str, name: str, error: CoffreError, *, is_stored: bool = False) -> None:
        """Count one object. `is_stored`: it is in the backup, in another version than it should be."""
        reason = reason_of(error).replace(f"s3://{name}", _PLACE).replace(name, _PLACE)
        self._merge(
            UnreadGroup(bucket=bucket, code=error.code, reason=reason, count=1, names=(name,), is_stored=is_stored)
        )

    def take(self, other: Unread) -> None:
        """Add the counts of a part."""
        for group in other.groups:
            self._merge(group)

    def of(self, bucket: str) -> UnreadGroup | None:
        """Return the largest group of a bucket."""
        return max((one for one in self.groups if one.bucket == bucket), key=lambda one: one.count, default=None)

    def sentences(self) -> Iterator[str]:
        """Yield a sentence for each reason, the most frequent first."""
        for group in sorted(self.groups, key=lambda group: (-group.count, group.bucket, group.code, group.reason)):
            names = ", ".join(f"{name!a}" for name in group.names)
            if group.count == 1:
                reason = group.reason.replace(_PLACE, f"s3://{group.names[0]}")
                is_here = "is in this backup as it is now" if group.is_stored else "is not in this backup"
                yield f"{names} {is_here}: {reason} [{group.code}]"
                continue
            more, reason = group.count - len(group.names), group.reason.replace(_PLACE, "them")
            are_here = "are in this backup as they are now" if group.is_stored else "are not in this backup"
            yield (
                f"{group.count:,} objects of {group.bucket} {are_here}: {reason} [{group.code}] "
                f"They are {names}{f' and {more:,} more' if more else ''}."
            )

    def _merge(self, group: UnreadGroup) -> None:
        key = (group.bucket, group.code, group.reason)
        if key not in self._groups and len(self._groups) >= _GROUPS:
            group = group.model_copy(update={"code": "OTHER", "reason": _OTHERS})
            key = (group.bucket, group.code, group.reason)
        known = self._groups.get(key)
        if known is None:
            self._groups[key] = group.model_copy(update={"names": group.names[:_NAMED]})
            return
        changes = {"count": known.count + group.count, "names": (*known.names, *group.names)[:_NAMED]}
        self._groups[key] = known.model_copy(update=changes)


def reason_of(error: CoffreError) -> str:
    """Return the error with the store's own message, without the parts that differ between requests."""
    detail = _REQUEST.sub("", error.detail or "").strip()
    return f"{error.message} The store says: {detail}" if detail else error.message
