"""Gathering facts and running the checks over them. A reader that fails costs its own facts, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from coffre.model.checkup import Checkup
from coffre.model.errors import CoffreError
from coffre.policy.checks.check import Facts, Unread
from coffre.policy.checks.registry import run_checks


@dataclass(frozen=True)
class Reader:
    """Reads groups of facts. A group that it promises and does not return counts as not read.

    Parameters
    ----------
    groups
        The types of all facts that `read` returns. A value among those returned can also be `(group, Unread)`.
    """

    groups: tuple[type, ...]
    read: Callable[[], Iterable[object]]


def gather(readers: Iterable[Reader], log: Callable[[Exception], None]) -> Facts:
    """Return the facts of all readers.

    Parameters
    ----------
    log
        Gets unexpected errors: only their types are in the results.
    """
    facts: dict[type, object] = {}
    for reader in readers:
        why = "This was not read."
        try:
            for found in reader.read():
                group, value = found if isinstance(found, tuple) else (type(found), found)
                facts[group] = value
        except CoffreError as error:
            why = f"{error.message} [{error.code}]"
        except Exception as error:  # noqa: BLE001 - one reader's failure is a result, and must not hide the others'
            log(error)
            why = f"An unexpected {type(error).__name__}: the log of the function has it."
        for group in reader.groups:
            facts.setdefault(group, Unread(why))
    return facts


def examine(target: str | None, readers: Iterable[Reader], at: datetime, log: Callable[[Exception], None]) -> Checkup:
    """Look at a target (None: at what all share) and return what the checks say."""
    return Checkup.of(at, target, run_checks(gather(readers, log)))
