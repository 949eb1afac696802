"""What a server complains about when a replication slot is used, as errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.errors import CoffreError, JournalError, JournalTransientError
from coffre.postgres.connection.connect import one_line
from coffre.postgres.connection.query_errors import is_too_big
from coffre.postgres.journal.publication import unusable
from coffre.postgres.journal.refuse_pooler import shared
from coffre.postgres.source.copy_out import QueryFailedError

_NOT_IN_STATE: Final = "55000"  # object_not_in_prerequisite_state
_NOT_POSSIBLE: Final = (
    "42501",  # insufficient_privilege
    "53400",  # configuration_limit_exceeded: no slot is free
    _NOT_IN_STATE,  # wal_level
)

# What servers say of a slot that is lost: when it is read, and when it is advanced (14 to 17).
_LOST: Final = ("can no longer", "cannot be advanced")


def missing(name: str) -> JournalError:
    """Return the error of a slot that does not exist."""
    return JournalError(
        f"The replication slot {name} does not exist.",
        code="JOURNAL_SLOT_MISSING",
        hint="It was dropped, or the server is a copy or a new major version, which have none: begin again with a new"
        " slot and a new base.",
    )


def standby() -> JournalError:
    """Return the error of a server that only follows another one."""
    return JournalError(
        "The server is a standby, and a journal reads the primary.",
        code="JOURNAL_NOT_POSSIBLE",
        hint="Give the target the address of the primary (the writer). After a failover: it is tried again.",
    )


# A value that the server cannot print, or not in the session's encoding: it cannot the next time either.
_DATA_EXCEPTION: Final = "22"


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn the server's errors about a slot into ones that say what to do."""
    try:
        yield
    except UnicodeDecodeError as error:  # its text would quote a row
        raise _unreadable(name, f"a text is not {error.encoding}") from error
    except QueryFailedError as error:
        raise _explained(name, error.sqlstate, str(error)) from error
    except psycopg2.Error as error:
        raise _explained(name, error.pgcode or "", one_line(error), type(error)) from error


def _explained(name: str, sqlstate: str, said: str, kind: type[psycopg2.Error] | None = None) -> CoffreError:
    """Return the error of what the server, or the driver, has said; `kind` is the driver's for it."""
    if sqlstate in _OF_STATE:
        return _OF_STATE[sqlstate](name, said)
    if "temp_file_limit" in said or is_too_big(sqlstate, said):
        return JournalError(
            f"The server cannot hold the changes that one step of the replication slot {name} would read.",
            code="JOURNAL_TOO_LARGE",
            detail=said,
            hint="A drain reads smaller steps by itself. If one transaction alone is too large: raise temp_file_limit"
            " for the role (as a superuser), or divide such transactions.",
        )
    if sqlstate == _NOT_IN_STATE and any(words in said for words in _LOST):
        return lost(name, said)
    if sqlstate == _NOT_IN_STATE and "recovery" in said:
        return standby()
    if sqlstate in _NOT_POSSIBLE:
        return JournalError(
            f"The server does not allow the replication slot {name}.",
            code="JOURNAL_NOT_POSSIBLE",
            detail=said,
            hint="It needs wal_level = logical, a free slot (max_replication_slots), and a role with REPLICATION (on"
            " RDS: GRANT rds_replication TO the role).",
        )
    if sqlstate.startswith(_DATA_EXCEPTION):
        return _unreadable(name, said)
    if issubclass(kind or _kind_of(sqlstate), psycopg2.OperationalError | psycopg2.InterfaceError):
        return JournalTransientError(
            f"The session that used the replication slot {name} was ended.",
            detail=said,
            hint="Nothing is lost: the slot stays where it is. It is tried again.",
        )
    return JournalError(
        f"The replication slot {name} cannot be used.",
        detail=said,
        hint="The detail is the server's own words. Backups are not affected.",
    )


def _kind_of(sqlstate: str) -> type[psycopg2.Error]:
    """Return what the driver makes of an SQLSTATE."""
    try:
        return psycopg2.errors.lookup(sqlstate)
    except KeyError:
        return psycopg2.DatabaseError


def _in_use(name: str, said: str) -> CoffreError:
    return JournalTransientError(
        f"The replication slot {name} is in use by another session.",
        code="JOURNAL_SLOT_BUSY",
        detail=said,
        hint="It is tried again. If no drain runs, end that session: pg_terminate_backend.",
    )


def _cancelled(name: str, said: str) -> CoffreError:
    return JournalTransientError(
        f"The replication slot {name} could not be used in time.",
        code="JOURNAL_WAITS",
        detail=said,
        hint="A new slot waits for every transaction that is open when it is made: end the oldest ones"
        " (pg_stat_activity, pg_prepared_xacts), and try again.",
    )


def _undefined(name: str, said: str) -> CoffreError:
    return unusable("did not exist when rows were changed") if "publication" in said else missing(name)


def _without_settings(_: str, __: str) -> CoffreError:
    return shared("the settings of this session are not those that it has made")


# The last is null_value_not_allowed: see NAME_IF_PINNED.
_OF_STATE: Final = {"55006": _in_use, "57014": _cancelled, "42704": _undefined, "22004": _without_settings}


def _unreadable(name: str, detail: str) -> JournalError:
    return JournalError(
        f"The replication slot {name} has a change that cannot be read.",
        code="JOURNAL_UNREADABLE",
        detail=detail,
        hint="Begin again with a new slot and a new base. If it comes back, find out which table has such values.",
    )


def lost(name: str, detail: str | None = None, reason: str | None = None) -> JournalError:
    """Return the error of a slot whose WAL is gone, or that the server has given up for a reason of its own."""
    said, hint = _GIVEN_UP.get(reason or "", _WAL_REMOVED)
    return JournalError(
        f"The replication slot {name} is lost: {said}.",
        code="JOURNAL_SLOT_LOST",
        detail=detail,
        hint=f"Drop the slot, and begin again with a new one and a new base. {hint}",
    )


def reason_of_loss(session: psycopg2.extensions.connection, name: str) -> str | None:
    """Return why the server has given up a slot; None: it does not say so (before PostgreSQL 17)."""
    if session.server_version < _SAYS_WHY:
        return None
    with translated(name), session, session.cursor() as cursor:
        cursor.execute("SELECT invalidation_reason FROM pg_replication_slots WHERE slot_name = %s", (name,))
        return next((reason for (reason,) in cursor), None)


_SAYS_WHY: Final = 170000
_WAL_REMOVED: Final = (
    "the server has removed the WAL that it needed",
    "Raise max_slot_wal_keep_size, or drain it more often.",
)
# `invalidation_reason`: what happened, and what to do.
_GIVEN_UP: Final = {
    "idle_timeout": (
        "nothing used it for longer than the server's idle_replication_slot_timeout",
        "Drain it more often than that, or raise idle_replication_slot_timeout.",
    ),
    "wal_level_insufficient": (
        "the server's wal_level was no longer logical",
        "Set wal_level = logical again.",
    ),
}
