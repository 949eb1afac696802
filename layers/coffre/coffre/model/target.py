"""The configuration document: which targets exist and how each is protected.

The document is JSON, in an SSM parameter or a file. Unknown fields are errors. `schema()` gives its JSON schema.
"""

from __future__ import annotations

import json
import re
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationError,
    model_validator,
)

from coffre.model.alert_rules import FleetAlerts, TargetAlerts
from coffre.model.errors import ConfigurationError, TargetUnknownError

TargetName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="lower case, digits and dashes")]
# How pydantic shows the member of an enumeration: `<TargetKind.DATABASE: 'database'>`.
_MEMBER: Final = re.compile(r"<\w+\.\w+: ('[^']*')>")
AgeRecipient = Annotated[str, Field(pattern=r"^age1[02-9ac-hj-np-z]{58}$", description="an age X25519 public key")]


class TargetKind(StrEnum):
    """What a target is."""

    DATABASE = "database"
    BUCKET = "bucket"

    @property
    def word(self) -> str:
        """How the command `coffre backup` calls it."""
        return "storage" if self is TargetKind.BUCKET else self.value


class Contents(StrEnum):
    """What of a database a backup holds."""

    FULL = "full"
    SCHEMA = "schema"
    DATA = "data"

    @property
    def has_schema(self) -> bool:
        """Whether the schema archive and the roles belong to the backup."""
        return self is not Contents.DATA

    @property
    def has_rows(self) -> bool:
        """Whether rows, values of sequences, large objects, and what fills materialized views belong to the backup."""
        return self is not Contents.SCHEMA


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Patterns(_Document):
    """Names to take and to leave out, as `pg_dump` understands patterns (`public`, `app_*`, `"Odd Name"`)."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class TablePatterns(Patterns):
    """The same for tables; a parent stands for its partitions too. Of `exclude_data` tables no rows are taken."""

    exclude_data: tuple[str, ...] = ()


_Days = Annotated[int, Field(ge=1, le=36_500)]
_Count = Annotated[int, Field(ge=1, le=100_000)]


class Retention(_Document):
    """How long backups are kept (docs/retention.md).

    A backup stays while it is younger than its tier's `days`, or one of the newest `count` of its tier: whichever keeps
    it. Of a target at least the newest `minimum_kept` stay, and nothing goes unless `minimum_verified` verified ones
    stay, one of them newer than what goes; 0 says in so many words that verification is not waited for.
    Beyond `maximum_bytes` the oldest go first.
    """

    daily_days: _Days | None = 7
    daily_count: _Count | None = None
    weekly_days: _Days | None = 28
    weekly_count: _Count | None = None
    monthly_days: _Days | None = 365
    monthly_count: _Count | None = None
    safety_days: _Days | None = 7
    safety_count: _Count | None = None
    minimum_kept: int = Field(default=2, ge=1)
    minimum_verified: int = Field(default=2, ge=0)
    maximum_bytes: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _every_tier_has_an_end(self) -> Retention:
        for tier in ("daily", "weekly", "monthly", "safety"):
            if getattr(self, f"{tier}_days") is None and getattr(self, f"{tier}_count") is None:
                raise ValueError(f"{tier}_days and {tier}_count are both null: give one of them a number")
        return self


class Freshness(_Document):
    """How old the newest backup may be before somebody is told (docs/verification.md).

    A backup is expected every `every_hours` (default: 24 for a database, 168 for buckets), and `late_hours` later it is
    overdue. Once anything of the target was verified, the newest verified backup may be `verified_hours` old.
    """

    every_hours: float | None = Field(default=None, gt=0, le=100_000)
    late_hours: float = Field(default=4, ge=0, le=10_000)
    verified_hours: float = Field(default=192, gt=0, le=100_000)


class Limits(_Document):
    """What a run may use.

    `streams` is the number of connections that read tables at once (default: as many as the function has cores).
    `lock_timeout_seconds` bounds how long anybody can queue behind the backup's locks.
    """

    streams: int | None = Field(default=None, ge=1, le=16)
    lock_timeout_seconds: int = Field(default=10, ge=1, le=300)
    connect_timeout_seconds: int = Field(default=10, ge=1, le=60)
    compression_level: int = Field(default=3, ge=1, le=19)


class DrillCheck(_Document):
    """A question of the owner's that a restored database has to answer right: one row with one value.

    `expect` is what JSON makes of that value; anything but numbers, booleans and NULL is compared as text.
    """

    name: str = Field(min_length=1, max_length=100)
    query: str = Field(min_length=1, max_length=10_000)
    expect: StrictBool | StrictInt | StrictFloat | StrictStr | None


class Drill(_Document):
    """How a backup is proven by restoring it (docs/drills.md). `rto_minutes` is the longest that a restore may take."""

    checks: tuple[DrillCheck, ...] = Field(default=(), max_length=100)
    check_timeout_seconds: int = Field(default=30, ge=1, le=600)
    rto_minutes: int | None = Field(default=None, ge=1, le=100_000)

    @model_validator(mode="after")
    def _names_of_checks_are_unique(self) -> Drill:
        names = [check.name for check in self.checks]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"each check needs its own name; used twice: {', '.join(twice)}")
        return self


class Tls(_Document):
    """How the server's certificate is checked. `ca` is a PEM text; with one, `verify-full` is the default."""

    mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] | None = None
    ca: str | None = Field(default=None, pattern=r"^\s*-----BEGIN CERTIFICATE-----")


class DatabaseTarget(_Document):
    """One PostgreSQL database. `secret` names a Secrets Manager secret (name or ARN), never the password itself."""

    name: TargetName
    kind: Literal[TargetKind.DATABASE] = TargetKind.DATABASE
    secret: str = Field(min_length=1)
    contents: Contents = Contents.FULL
    schemas: Patterns = Patterns()
    tables: TablePatterns = TablePatterns()
    retention: Retention = Retention()
    freshness: Freshness = Freshness()
    limits: Limits = Limits()
    alerts: TargetAlerts = TargetAlerts()
    tls: Tls = Tls()
    drill: Drill = Drill()


# As S3 names buckets, and more widely: Supabase takes spaces, upper case and others too. Never a slash: it ends the
# bucket's in the name of an entry.
BucketName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f\x7f]{1,255}$", description="a bucket's name")]


class BucketSource(_Document):
    """One bucket, or some of its objects.

    `prefixes` are starts of keys (none: all objects). `include` and `exclude` are patterns of whole keys: `*` stands
    for any characters but a slash, `**` for any, `?` for one character; an object is taken when it matches one of
    `include` (or there is none) and none of `exclude`.
    """

    name: BucketName
    prefixes: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class ObjectStore(_Document):
    """Where buckets are, and how to get in: AWS's own S3 with the function's role when nothing is said.

    `secret` names a Secrets Manager secret with `access_key_id`, `secret_access_key` and perhaps `session_token`.
    """

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$")
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$")
    addressing: Literal["auto", "path", "virtual"] = "auto"
    secret: str | None = Field(default=None, min_length=1)


class BucketLimits(_Document):
    """What a run may use. `streams` is the number of connections that read objects at once.

    A backup that does not fit into one invocation goes on in the next one, `invocations` at most.
    """

    streams: int = Field(default=16, ge=1, le=64)
    compression_level: int = Field(default=3, ge=1, le=19)
    invocations: int = Field(default=24, ge=1, le=200)


class BucketTarget(_Document):
    """Buckets of one object store that are backed up together."""

    name: TargetName
    kind: Literal[TargetKind.BUCKET]
    store: ObjectStore = ObjectStore()
    buckets: tuple[BucketSource, ...] = Field(min_length=1)
    retention: Retention = Retention()
    freshness: Freshness = Freshness()
    limits: BucketLimits = BucketLimits()
    alerts: TargetAlerts = TargetAlerts()

    @model_validator(mode="after")
    def _buckets_are_unique(self) -> BucketTarget:
        names = [bucket.name for bucket in self.buckets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each bucket is named once, with all its prefixes; named twice: {', '.join(twice)}")
        return self


_KIND_UNKNOWN: Final = "kind_unknown"


def _kind_of(target: object) -> str | None:
    """Return which kind of target a value is meant to be: a database when it does not say."""
    kind = target.get("kind", TargetKind.DATABASE) if isinstance(target, dict) else getattr(target, "kind", None)
    return kind if isinstance(kind, str) and kind in set(TargetKind) else None


Target = Annotated[
    Annotated[DatabaseTarget, Tag("database")] | Annotated[BucketTarget, Tag("bucket")],
    Discriminator(
        _kind_of,
        custom_error_type=_KIND_UNKNOWN,
        custom_error_message="should be 'database' or 'bucket'",
    ),
]


class Configuration(_Document):
    """The whole document.

    `encryption` is `age` (then `recipients` must hold at least one public key) or, in so many words, `none`.
    `vault_quota_bytes` is what the vault may hold before somebody should look.
    """

    version: Literal[1] = 1
    encryption: Literal["age", "none"]
    recipients: tuple[AgeRecipient, ...] = ()
    targets: tuple[Target, ...] = Field(min_length=1)
    alerts: FleetAlerts = FleetAlerts()
    vault_quota_bytes: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _recipients_fit_encryption(self) -> Configuration:
        if self.encryption == "age" and not self.recipients:
            raise ValueError('encryption is "age" but recipients is empty: make a key with `coffre keys new`')
        if self.encryption == "none" and self.recipients:
            raise ValueError('encryption is "none" but recipients are given: remove them, or say "age"')
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Configuration:
        names = [target.name for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each target needs its own name; used twice: {', '.join(twice)}")
        return self

    @property
    def databases(self) -> tuple[DatabaseTarget, ...]:
        """The targets that are databases."""
        return tuple(target for target in self.targets if isinstance(target, DatabaseTarget))

    @property
    def buckets(self) -> tuple[BucketTarget, ...]:
        """The targets that are buckets."""
        return tuple(target for target in self.targets if isinstance(target, BucketTarget))

    def target(self, name: str) -> DatabaseTarget | BucketTarget:
        """Return the target of this name.

        Raises
        ------
        TargetUnknownError
            When no target has it; the message names those that exist.
        """
        return _named(name, self.targets, "target")

    def database(self, name: str) -> DatabaseTarget:
        """Return the database of this name; raises as `target` does."""
        return _named(name, self.databases, "database target")

    def bucket(self, name: str) -> BucketTarget:
        """Return the bucket target of this name; raises as `target` does."""
        return _named(name, self.buckets, "bucket target")


def _named[T: (DatabaseTarget, BucketTarget, DatabaseTarget | BucketTarget)](
    name: str, targets: tuple[T, ...], what: str
) -> T:
    for target in targets:
        if target.name == name:
            return target
    known = ", ".join(sorted(target.name for target in targets)) or "none"
    raise TargetUnknownError(
        f'There is no {what} "{name}".', detail=f"Configured {what}s: {known}", hint="Check the name's spelling."
    )


def parse_configuration(text: str, *, where: str) -> Configuration:
    """Parse and validate a configuration document.

    Parameters
    ----------
    text
        The JSON document.
    where
        Where it came from, for the message (an SSM parameter's name or a file's path).

    Raises
    ------
    ConfigurationError
        Names each wrong field by its path with the allowed values.
    """
    try:
        data: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"The configuration document in {where} is not valid JSON.",
            detail=f"line {error.lineno}, column {error.colno}: {error.msg}",
            hint="Correct the document; docs/configuration.md shows a complete one.",
        ) from error
    try:
        return Configuration.model_validate(data)
    except ValidationError as error:
        lines = describe_validation(error)
        raise ConfigurationError(
            f"The configuration document in {where} has {len(lines)} wrong value(s).",
            detail="\n  ".join(lines),
            hint="Correct these fields; docs/configuration.md lists every field with its allowed values.",
        ) from error


def describe_validation(error: ValidationError) -> list[str]:
    """Turn a pydantic error into lines like `targets[0].limits.streams: should be less than or equal to 16`.

    The offending value is not repeated: it may be a secret that was put into the wrong field.
    """
    lines = []
    items = error.errors(include_url=False, include_input=False)
    for item in items:
        if item["type"] == "too_short" and any(
            other["loc"][: len(item["loc"])] == item["loc"] for other in items if other is not item
        ):
            continue  # too few are left only because others are wrong, which is said already
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in _spoken(item["loc"])).lstrip(
            "."
        )
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
        message = _MEMBER.sub(r"\1", message)
        if item["type"] == "extra_forbidden":
            message = "unknown field"
        if item["type"] == _KIND_UNKNOWN:
            path += ".kind"
        lines.append(f"{path or 'document'}: {message}")
    return lines


def _spoken(path: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Leave out what pydantic puts into the path of a target: its kind, which is no field."""
    is_target = len(path) > 2 and path[0] == "targets" and path[2] in set(TargetKind)
    return (*path[:2], *path[3:]) if is_target else path
