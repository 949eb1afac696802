"""Targets that are databases, and those that are found on a server."""

from __future__ import annotations

import ipaddress
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from coffre.model.document import Document
from coffre.model.drill_options import Drill
from coffre.model.journal_options import JournalOptions
from coffre.model.kinds import Contents, TargetKind
from coffre.model.provider import Provider
from coffre.model.server import SeenDatabase
from coffre.model.target import Target
from coffre.model.times import parse_span


class Patterns(Document):
    """Names to take and to leave out, as `pg_dump` understands patterns (`public`, `app_*`, `"Odd Name"`)."""

    include: tuple[str, ...] = Field(
        default=(), description="Patterns of names that are backed up. Empty: all.", examples=[["app_*"]]
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="Patterns of names that are left out.", examples=[["audit_*"]]
    )


class TablePatterns(Patterns):
    """The same for tables; a parent stands for its partitions too. Of `exclude_data` tables no rows are taken.

    `include_members` are tables that are members of an extension and no configuration tables of it: their rows are
    taken too, which `pg_dump` leaves out.
    """

    exclude_data: tuple[str, ...] = Field(
        default=(),
        description="Patterns of tables that are backed up without their rows: sessions, caches, logs.",
        examples=[["public.sessions"]],
    )
    include_members: tuple[str, ...] = Field(
        default=(),
        description="Patterns of tables of an extension whose rows are stored too, which pg_dump leaves out.",
        examples=[["pgmq.q_*"]],
    )


def _checked_span(text: str) -> str:
    parse_span(text)
    return text


class Limits(Document):
    """What a run may use.

    `streams` is the number of connections that read tables in parallel (default: as many as the function has cores).
    `lock_timeout_seconds` bounds how long another session can wait for a table that is being read. `spread` and
    `snapshot_age` are about what several functions do together (docs/large-databases.md).
    """

    streams: int | None = Field(
        default=None,
        ge=1,
        le=16,
        description="Maximum number of connections that read tables. null: the function's cores, at least 4.",
        examples=[4],
        json_schema_extra={"unit": "connections"},
    )
    lock_timeout_seconds: int = Field(
        default=10,
        ge=1,
        le=300,
        description="How long the backup waits for a lock, and another session for one of the backup's.",
        examples=[30],
        json_schema_extra={"unit": "seconds"},
    )
    connect_timeout_seconds: int = Field(
        default=10,
        ge=1,
        le=60,
        description="How long connecting to the database may take.",
        examples=[20],
        json_schema_extra={"unit": "seconds"},
    )
    compression_level: int = Field(
        default=3,
        ge=1,
        le=19,
        description="Highest zstd level; a lower one is used where the output is within 1 %.",
        examples=[6],
        json_schema_extra={"unit": "zstd level"},
    )
    spread: Literal["auto", "never", "always"] = Field(
        default="auto",
        description="Whether several functions take a backup, or load a restore's rows. auto: if one is too slow.",
        examples=["never"],
    )
    snapshot_age: Annotated[str, AfterValidator(_checked_span)] = Field(
        default="6h",
        description="How old the snapshot of a spread backup may get: the server keeps dead rows as long.",
        examples=["12h"],
        json_schema_extra={"unit": "time span"},
    )


class Tls(Document):
    """How the server's certificate is checked. With a `ca`, `verify-full` is the default.

    `ca` is a PEM text, `secret:` and the name of a secret with one, or `system`: the public authorities.
    """

    mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] | None = Field(
        default=None,
        description="How the server is checked. null: the URL's sslmode; else verify-full with a ca, else require.",
        examples=["verify-full"],
    )
    ca: str | None = Field(
        default=None,
        pattern=r"^(\s*-----BEGIN CERTIFICATE-----|secret:[A-Za-z0-9/_+=.@:!-]+$|system$)",
        description="The CA certificates that the server is verified with: PEM text, secret:NAME, or system.",
        examples=["system", "secret:coffre/database/ca"],
    )


def default_tls_mode(host: str, *, has_ca: bool = False) -> str:
    """Return how a server is checked when neither `tls.mode` nor the URL says it.

    Never below `require`, except on this very machine, where there is no wire to listen on (field note 14).
    """
    if has_ca:
        return "verify-full"
    try:
        is_here = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_here = host == "localhost" or host.startswith("/")
    return "prefer" if is_here else "require"


def _all_or_patterns(value: object) -> object:
    return {} if value == "all" else value


_Databases = Annotated[
    Patterns | None, BeforeValidator(_all_or_patterns, json_schema_input_type=Literal["all"] | Patterns | None)
]


class DatabaseTarget(Target):
    """One PostgreSQL database, or with `databases` those of its server, each a target of its own (docs/databases.md).

    `secret` names a Secrets Manager secret (name or ARN), never the password itself.
    """

    kind: Literal[TargetKind.DATABASE] = Field(
        default=TargetKind.DATABASE, description="What the target is: a database.", examples=["database"]
    )
    secret: str = Field(
        min_length=1,
        description="Name or ARN of the secret with the database's address, below coffre/database/.",
        examples=["coffre/database/shop"],
    )
    databases: _Databases = Field(
        default=None,
        description='"all", or patterns: this target is the server, and each of its databases a target of its own.',
        examples=["all", {"exclude": ["postgres", "test_*"]}],
    )
    provider: Provider = Field(
        default="auto",
        description="Whose server it is; auto: recognized by its host, settings and roles (docs/providers).",
        examples=["supabase"],
    )
    contents: Contents = Field(
        default=Contents.FULL, description="Definitions and rows, or one of both alone.", examples=["full"]
    )
    schemas: Patterns = Field(
        default=Patterns.model_construct(),
        description="Which schemas are backed up.",
        examples=[{"exclude": ["audit_*"]}],
    )
    tables: TablePatterns = Field(
        default=TablePatterns.model_construct(),
        description="Which tables are backed up, and which without their rows.",
        examples=[{"exclude_data": ["public.sessions"]}],
    )
    limits: Limits = Field(
        default=Limits.model_construct(), description="What a run may use.", examples=[{"streams": 4}]
    )
    tls: Tls = Field(
        default=Tls.model_construct(),
        description="How the server's certificate is checked.",
        examples=[{"ca": "system"}],
    )
    drill: Drill = Field(
        default=Drill.model_construct(),
        description="How backups are proven by restoring them.",
        examples=[{"rto_minutes": 60}],
    )
    journal: JournalOptions | None = Field(
        default=None,
        description="Store changes between backups too, for restores to a moment. null: backups alone.",
        examples=[{}, {"every_minutes": 1}],
    )

    @model_validator(mode="after")
    def _a_journal_is_of_everything(self) -> Self:
        is_whole = self.contents is Contents.FULL and self.schemas == Patterns()
        if self.journal is not None and not (
            is_whole and self.tables.model_copy(update={"include_members": ()}) == TablePatterns()
        ):
            raise ValueError(
                "journal needs backups of everything: a target with contents, schemas or tables (but include_members)"
                " has none"
            )
        return self


class FoundDatabase(DatabaseTarget):
    """A database that was found on a server. It is in no document; the rest is as its server's.

    `database` is its name on the server, `server` that of the server's target. `gone_since` says since when the server
    does not have it any more: it is not backed up, and nothing of it is overdue.
    """

    server: str
    database: str
    gone_since: datetime | None = None

    @classmethod
    def of(cls, server: DatabaseTarget, seen: SeenDatabase) -> FoundDatabase:
        """Return the target of a database that was found, with all settings of its server."""
        own = {name: getattr(server, name) for name in DatabaseTarget.model_fields}
        found = {"server": seen.server, "database": seen.database, "gone_since": seen.gone_since}
        return cls.model_construct(**{**own, "name": seen.name, "databases": None, **found})
