"""Every error that Coffre raises on purpose: what happened, where, and what to do.

`PermanentError` will happen again with the same input; `TransientError` may not. A leaf has a stable
`code` of its own, or is given one where the class covers several causes of the same family.
"""

from __future__ import annotations

from coffre.model.names import visible


class CoffreError(Exception):
    """An error with a stable code, a message for a person, and a hint that says what to do.

    Parameters
    ----------
    message
        What happened, to which target or object, in one sentence. Never a secret. Names in it may hold anything:
        invisible characters are written out, here and in the other texts (`coffre.model.names.visible`).
    code
        Stable upper-case name, for scripts and alerts.
    detail
        The other side's own words (an error of PostgreSQL or AWS, the tail of stderr).
    hint
        What to do now.
    """

    default_code = "COFFRE_ERROR"

    def __init__(
        self, message: str, *, code: str | None = None, detail: str | None = None, hint: str | None = None
    ) -> None:
        message = visible(message)
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.detail = visible(detail, breaks=True) if detail else detail
        self.hint = visible(hint) if hint else hint

    def __str__(self) -> str:
        text = f"{self.message} [{self.code}]"
        if self.detail:
            text += f"\n  {self.detail}"
        if self.hint:
            text += f"\n  What to do: {self.hint}"
        return text


class PermanentError(CoffreError):
    """The same call would fail again: something has to be changed first."""


class TransientError(CoffreError):
    """The same call may succeed later."""


# --- What a person or a configuration says ---------------------------------------------------------------------------


class SettingsError(PermanentError):
    """The function's environment is incomplete or wrong."""

    default_code = "SETTINGS_INVALID"


class ConfigurationError(PermanentError):
    """The configuration document is missing, malformed, or holds a value that is not allowed."""

    default_code = "CONFIGURATION_INVALID"


class EventError(PermanentError):
    """The event that started the function has an unknown field or a wrong value."""

    default_code = "EVENT_INVALID"


class ConfirmationError(PermanentError):
    """What would overwrite or delete something is not confirmed, or no longer what was confirmed."""

    default_code = "CONFIRMATION_NEEDED"


class IdentityError(PermanentError):
    """It is not verified who sent an event."""

    default_code = "IDENTITY_UNVERIFIED"


class TargetUnknownError(PermanentError):
    """No target of this name is configured."""

    default_code = "TARGET_UNKNOWN"


class CopyUnknownError(PermanentError):
    """No copy of this name is configured."""

    default_code = "COPY_UNKNOWN"


class CopyError(PermanentError):
    """A backup could not be copied as it is. Nothing at the destination looks like it."""

    default_code = "COPY_FAILED"


class ApiKeyError(PermanentError):
    """A key of the API does not exist, or not as it was meant."""

    default_code = "API_KEY_UNKNOWN"


class SecretError(PermanentError):
    """A secret is missing, not readable, or does not have the expected shape."""

    default_code = "SECRET_INVALID"


# --- The database ----------------------------------------------------------------------------------------------------


class ConnectError(PermanentError):
    """The database server cannot be used with these connection settings."""

    default_code = "CONNECTION_FAILED"


class ConnectTransientError(TransientError):
    """The server has no room now (too many connections, starting up, shutting down)."""

    default_code = "SERVER_BUSY"


class ServerVersionError(PermanentError):
    """The server's major version and the client tools do not go together."""

    default_code = "SERVER_TOO_NEW"


class DumpError(PermanentError):
    """Reading the database failed; nothing was published."""

    default_code = "DUMP_FAILED"


class DumpTransientError(TransientError):
    """Reading the database failed for a reason that may pass (a lock, a cut connection, a table that vanished)."""

    default_code = "DUMP_INTERRUPTED"


class SchemaChangedError(DumpTransientError):
    """What is not kept by a snapshot was changed before it was read; a new snapshot may succeed.

    `tables` are the tables that were changed, quoted for a statement; empty where it is not tables.
    """

    default_code = "SCHEMA_CHANGED"

    def __init__(
        self, message: str, *, detail: str | None = None, hint: str | None = None, tables: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, detail=detail, hint=hint)
        self.tables = tables


class LockYieldedError(DumpTransientError):
    """A part gave up its locks because another session waited for them; it can be read again in the same session."""

    default_code = "LOCK_YIELDED"


class RestoreError(PermanentError):
    """Loading into the destination failed; the restore stopped there."""

    default_code = "RESTORE_FAILED"


class ExportError(PermanentError):
    """A portable file of a backup could not be made or written."""

    default_code = "EXPORT_FAILED"


class DestinationError(PermanentError):
    """The destination of a restore cannot be used as it is."""

    default_code = "DESTINATION_UNUSABLE"


class JournalError(PermanentError):
    """The journal of a database cannot be continued, read or applied as it is; its backups are not affected."""

    default_code = "JOURNAL_FAILED"


class JournalTransientError(TransientError):
    """The journal's slot cannot be used now: it is in use, or a transaction has been open since before it was made."""

    default_code = "JOURNAL_INTERRUPTED"


# --- The vault -------------------------------------------------------------------------------------------------------


class StoreError(PermanentError):
    """The object store refused or does not have what was asked for."""

    default_code = "STORE_FAILED"


class ObjectMissingError(StoreError):
    """No object has this key."""

    default_code = "OBJECT_MISSING"


class StoreTransientError(TransientError):
    """The object store did not answer, throttled, or received other bytes than were sent."""

    default_code = "STORE_UNAVAILABLE"


class IntegrityError(PermanentError):
    """Stored bytes are not what was recorded when they were written.

    Parameters
    ----------
    pack
        The pack that they are all of, if every backup that names it is damaged.

    Attributes
    ----------
    frame
        Pack, offset and length of the stored frame that is lost or damaged, if it is one.
    """

    default_code = "INTEGRITY"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        detail: str | None = None,
        hint: str | None = None,
        pack: str | None = None,
    ) -> None:
        super().__init__(message, code=code, detail=detail, hint=hint)
        self.pack = pack
        self.frame: tuple[str, int, int] | None = None


class EncryptionError(PermanentError):
    """A recipient or an identity is malformed, or no identity opens a frame."""

    default_code = "ENCRYPTION"


# --- The catalog and the run itself ----------------------------------------------------------------------------------


class CatalogError(TransientError):
    """The catalog table did not take or give a record."""

    default_code = "CATALOG_UNAVAILABLE"


class BackupStateError(PermanentError):
    """The backup does not exist, or is not in a state that allows this."""

    default_code = "BACKUP_STATE"


class LockLostError(PermanentError):
    """Another run took the target's lock over: this one must not publish anything."""

    default_code = "LOCK_LOST"


class DeadlineError(PermanentError):
    """The function's time is nearly over and the job is not finished."""

    default_code = "DEADLINE"


class RunStoppedError(PermanentError):
    """The run is being stopped in the middle of its work: the code that stops it knows why."""

    default_code = "STOPPED"


class RunCancelledError(PermanentError):
    """A person has cancelled the run."""

    default_code = "CANCELLED"


class ScratchError(PermanentError):
    """The function's own disk has no room for what the job has to write to it."""

    default_code = "SCRATCH_FULL"


# --- Drills ----------------------------------------------------------------------------------------------------------


class DrillError(PermanentError):
    """What a drill restored is not what was backed up, or an owner's check of it failed."""

    default_code = "DRILL_FAILED"


class DrillImpossibleError(PermanentError):
    """A drill has no place where it could run. This says nothing about the backup."""

    default_code = "DRILL_NOT_POSSIBLE"
