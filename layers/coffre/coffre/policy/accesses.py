"""Which accesses to the vault are Coffre's own, and what everyone else did, in bounded memory."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from coffre.model.access import AccessAction, AccessGroup, AccessRecord, AccessReport

ANONYMOUS: Final = "-"
# Those for whom a report has no more room.
OTHERS: Final = "others, beyond the first 2,000"
OTHER_EXPECTED: Final = "expected others, beyond the first 2,000"
# What a report can hold. Names of sessions may be different for each call.
_MOST_GROUPS: Final = 2_000
_SHOWN: Final = 5
_LONGEST_KEY: Final = 300
_ROLE: Final = re.compile(r"arn:[a-z-]+:sts::(\d{12}):assumed-role/([^/]+)/[^/]+", re.ASCII)


@dataclass(frozen=True)
class Principals:
    """Who may access the vault without anyone being notified.

    Parameters
    ----------
    account, roles
        The stack's account, and the names of its functions' roles.
    expected
        Patterns of further principals: `*` stands for any text.
    """

    account: str
    roles: frozenset[str]
    expected: tuple[str, ...] = ()

    def is_own(self, principal: str) -> bool:
        """Return whether it is one of Coffre's functions."""
        found = _ROLE.fullmatch(principal)
        return found is not None and found[1] == self.account and found[2] in self.roles

    def is_expected(self, principal: str) -> bool:
        """Return whether the configuration expects it. An anonymous one never is."""
        return principal != ANONYMOUS and any(matches(pattern, principal) for pattern in self.expected)


def matches(pattern: str, text: str) -> bool:
    """Return whether a text fits a pattern, in which `*` stands for any text."""
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text, re.DOTALL) is not None


@dataclass
class Tally:
    """Adds requests up, by principal, day and action.

    Parameters
    ----------
    prefix
        The vault's folder in its bucket, with a slash at the end; objects elsewhere are of no interest.
    wanted
        Which requests count; by default all.
    by_day
        Keep the days apart.
    """

    principals: Principals
    prefix: str = ""
    wanted: Callable[[AccessRecord], bool] = lambda record: True  # noqa: ARG005
    by_day: bool = False
    newest_log: datetime | None = field(default=None, init=False)
    _counts: Counter[str] = field(default_factory=Counter, init=False)
    _groups: dict[tuple[str | None, str, AccessAction], AccessGroup] = field(default_factory=dict, init=False)

    def add(self, record: AccessRecord | None) -> None:
        """Count a request; None is a line that could not be read."""
        if record is None:
            self._counts["unreadable"] += 1
        elif not self.wanted(record) or not (record.key is None or record.key.startswith(self.prefix)):
            return
        elif record.operation.startswith("S3."):
            self._counts["aws"] += 1  # lifecycle rules: no request of a client has such an operation
        elif self.principals.is_own(record.principal):
            self._counts["own"] += 1
        else:
            self._add_foreign(record)

    def add_log(self, delivered_at: datetime | None) -> None:
        """Count a log that was read to its end."""
        self._counts["logs"] += 1
        self.newest_log = max((time for time in (delivered_at, self.newest_log) if time), default=None)

    def report(self) -> AccessReport:
        """Return what was counted: by days, the unexpected first, then those with the most requests."""
        groups = sorted(
            self._groups.values(),
            key=lambda group: (group.day or "", group.expected, -group.requests, group.principal, group.action),
        )
        return AccessReport(groups=tuple(groups), newest_log=self.newest_log, **self._counts)

    def _add_foreign(self, record: AccessRecord) -> None:
        day = f"{record.at:%Y-%m-%d}" if self.by_day else None
        expected = self.principals.is_expected(record.principal)
        principal = record.principal
        if len(self._groups) >= _MOST_GROUPS and (day, principal, record.action) not in self._groups:
            principal = OTHER_EXPECTED if expected else OTHERS
        name = (day, principal, record.action)
        before = self._groups.get(name)
        self._groups[name] = AccessGroup(
            day=day,
            principal=principal,
            action=record.action,
            expected=expected,
            requests=(before.requests if before else 0) + 1,
            refused=(before.refused if before else 0) + (not record.succeeded),
            first_at=min(record.at, before.first_at) if before else record.at,
            last_at=max(record.at, before.last_at) if before else record.at,
            keys=_some(before.keys if before else (), record.key and record.key[:_LONGEST_KEY]),
            ips=_some(before.ips if before else (), record.ip),
        )


def alarming(groups: Iterable[AccessGroup]) -> list[AccessGroup]:
    """Return the groups that someone has to know about: something was read or changed, and not as expected."""
    return [
        group
        for group in groups
        if not group.expected and group.action is not AccessAction.LOOK and group.requests > group.refused
    ]


def _some(known: tuple[str, ...], more: str | None) -> tuple[str, ...]:
    return known if more is None or more in known or len(known) == _SHOWN else (*known, more)
