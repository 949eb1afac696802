"""Targets: databases and buckets, and how each is protected."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from coffre.model.alert_rules import TargetAlerts
from coffre.model.confirmation import ConfirmationRules
from coffre.model.document import Document
from coffre.model.kinds import Contents as Contents
from coffre.model.kinds import TargetKind as TargetKind
from coffre.model.schedule import Schedule

AgeRecipient = Annotated[str, Field(pattern=r"^age1[02-9ac-hj-np-z]{58}$", description="an age X25519 public key")]
TARGET_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
TargetName = Annotated[str, Field(pattern=TARGET_NAME, description="lower case, digits and dashes")]


class Patterns(Document):
    """Names to take and to leave out, as `pg_dump` understands patterns (`public`, `app_*`, `"Odd Name"`)."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class TablePatterns(Patterns):
    """The same for tables; a parent stands for its partitions too. Of `exclude_data` tables no rows are taken.

    `include_members` are tables that are members of an extension and no configuration tables of it: their rows are
    taken too, which `pg_dump` leaves out.
    """

    exclude_data: tuple[str, ...] = ()
    include_members: tuple[str, ...] = ()


_Days = Annotated[int, Field(ge=1, le=36_500)]
_Count = Annotated[int, Field(ge=1, le=100_000)]


class Retention(Document):
    """How long backups are kept (docs/retention.md).

    A backup stays while it is younger than its tier's `days`, or one of the newest `count` of its tier: whichever keeps
    it. Of a target at least the newest `minimum_kept` stay, and nothing goes unless `minimum_verified` verified ones
    stay, one of them newer than what goes; 0 says explicitly that verification is not waited for.
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


class Freshness(Document):
    """How old the newest backup may be before an alert is sent (docs/verification.md).

    A backup is expected every `every_hours`, and `late_hours` later it is overdue. By default one is expected at each
    time of the target's own schedule; without a schedule every 24 hours for a database, every 168 for buckets. Once
    anything of the target was verified, the newest verified backup may be `verified_hours` old.
    """

    every_hours: float | None = Field(default=None, gt=0, le=100_000)
    late_hours: float = Field(default=4, ge=0, le=10_000)
    verified_hours: float = Field(default=192, gt=0, le=100_000)


class Limits(Document):
    """What a run may use.

    `streams` is the number of connections that read tables in parallel (default: as many as the function has cores).
    `lock_timeout_seconds` bounds how long another session can wait behind the backup's locks.
    """

    streams: int | None = Field(default=None, ge=1, le=16)
    lock_timeout_seconds: int = Field(default=10, ge=1, le=300)
    connect_timeout_seconds: int = Field(default=10, ge=1, le=60)
    compression_level: int = Field(default=3, ge=1, le=19)


class DrillCheck(Document):
    """A question of the owner's that a restored database has to answer right: one row with one value.

    `expect` is what JSON makes of that value; anything but numbers, booleans and NULL is compared as text.
    """

    name: str = Field(min_length=1, max_length=100)
    query: str = Field(min_length=1, max_length=10_000)
    expect: StrictBool | StrictInt | StrictFloat | StrictStr | None


class Drill(Document):
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


class BucketDrill(Document):
    """How a backup of buckets is proven by restoring some of its objects (docs/drills.md).

    `objects` is how many at most; 0: none, and never. `rto_minutes` is the longest that a restore may take.
    """

    objects: int = Field(default=100, ge=0, le=1000)
    rto_minutes: int | None = Field(default=None, ge=1, le=100_000)


class Tls(Document):
    """How the server's certificate is checked. With a `ca`, `verify-full` is the default.

    `ca` is a PEM text, `secret:` and the name of a secret with one, or `system`: the public authorities.
    """

    mode: Literal["disable", "prefer", "require", "verify-ca", "verify-full"] | None = None
    ca: str | None = Field(
        default=None, pattern=r"^(\s*-----BEGIN CERTIFICATE-----|secret:[A-Za-z0-9/_+=.@:!-]+$|system$)"
    )


class DatabaseTarget(Document):
    """One PostgreSQL database. `secret` names a Secrets Manager secret (name or ARN), never the password itself.

    `recipients` are its own public keys (docs/keys.md); none: those of the document.
    """

    name: TargetName
    kind: Literal[TargetKind.DATABASE] = TargetKind.DATABASE
    recipients: tuple[AgeRecipient, ...] = ()
    secret: str = Field(min_length=1)
    contents: Contents = Contents.FULL
    schemas: Patterns = Patterns()
    tables: TablePatterns = TablePatterns()
    schedule: Schedule | None = Field(
        default=None,
        description="When this target is backed up, in place of the template's rules. null: by the template's rules.",
        examples=[{"expression": "cron(30 3 * * ? *)", "time_zone": "Europe/Zurich"}],
    )
    retention: Retention = Retention()
    freshness: Freshness = Freshness()
    limits: Limits = Limits()
    alerts: TargetAlerts = TargetAlerts()
    tls: Tls = Tls()
    drill: Drill = Drill()
    confirmation: ConfirmationRules | None = None


# As S3 names buckets, and more widely: Supabase takes spaces, upper case and others too. Never a slash: it ends the
# bucket's in the name of an entry.
BucketName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f\x7f]{1,255}$", description="a bucket's name")]


class BucketSource(Document):
    """One bucket, or some of its objects.

    `prefixes` are starts of keys (none: all objects). `include` and `exclude` are patterns of whole keys: `*` stands
    for any characters but a slash, `**` for any, `?` for one character; an object is taken when it matches one of
    `include` (or `include` is empty) and none of `exclude`.
    """

    name: BucketName
    prefixes: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class ObjectStore(Document):
    """Where buckets are, and how to get in: AWS's own S3 with the function's role when nothing is said.

    `secret` names a Secrets Manager secret with `access_key_id`, `secret_access_key` and perhaps `session_token`.
    """

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$")
    region: str | None = Field(default=None, pattern=r"^[a-z0-9-]+$")
    addressing: Literal["auto", "path", "virtual"] = "auto"
    secret: str | None = Field(default=None, min_length=1)


class BucketLimits(Document):
    """What a run may use. `streams` is the number of connections that read objects in parallel.

    A backup that does not fit into one invocation continues in the next one, `invocations` at most.
    """

    streams: int = Field(default=16, ge=1, le=64)
    compression_level: int = Field(default=3, ge=1, le=19)
    invocations: int = Field(default=24, ge=1, le=200)


class BucketTarget(Document):
    """Buckets of one object store that are backed up together.

    `attributes` says how changes of tags and grants alone, which a listing does not show, are found: `listed` does not
    look for them, `compare` reads the tags (and grants) of unchanged objects too. `attributes_every` spreads that over
    this number of backups, each comparing its share. `recipients` are as those of a database.
    """

    name: TargetName
    kind: Literal[TargetKind.BUCKET]
    recipients: tuple[AgeRecipient, ...] = ()
    store: ObjectStore = ObjectStore()
    buckets: tuple[BucketSource, ...] = Field(min_length=1)
    schedule: Schedule | None = Field(
        default=None,
        description="When this target is backed up, in place of the template's rules. null: by the template's rules.",
        examples=[{"expression": "cron(30 3 * * ? *)", "time_zone": "Europe/Zurich"}],
    )
    retention: Retention = Retention()
    freshness: Freshness = Freshness()
    attributes: Literal["listed", "compare"] = "listed"
    attributes_every: int = Field(default=1, ge=1, le=1000)
    limits: BucketLimits = BucketLimits()
    alerts: TargetAlerts = TargetAlerts()
    drill: BucketDrill = BucketDrill()
    confirmation: ConfirmationRules | None = None

    @model_validator(mode="after")
    def _buckets_are_unique(self) -> BucketTarget:
        names = [bucket.name for bucket in self.buckets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each bucket is named once, with all its prefixes; named twice: {', '.join(twice)}")
        return self
