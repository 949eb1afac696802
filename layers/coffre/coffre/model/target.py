"""Targets: databases and buckets, and how each is protected."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from coffre.model.alert_rules import TargetAlerts
from coffre.model.confirmation import ConfirmationRules
from coffre.model.document import Document
from coffre.model.kinds import Contents as Contents
from coffre.model.kinds import TargetKind as TargetKind
from coffre.model.objectives import Objective
from coffre.model.protection import BucketDrill as BucketDrill
from coffre.model.protection import Drill as Drill
from coffre.model.protection import DrillCheck as DrillCheck
from coffre.model.protection import Freshness as Freshness
from coffre.model.protection import Retention as Retention
from coffre.model.repositories import Organisation as Organisation
from coffre.model.repositories import RepositorySource as RepositorySource
from coffre.model.schedule import Schedule
from coffre.model.server import SeenDatabase
from coffre.model.times import parse_span

AgeRecipient = Annotated[str, Field(pattern=r"^age1[02-9ac-hj-np-z]{58}$", description="an age X25519 public key")]
TARGET_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,62}$"
TargetName = Annotated[str, Field(pattern=TARGET_NAME, description="lower case, digits and dashes")]


class Target(Document):
    """What every kind of target has.

    `recipients` are the target's own public keys (docs/keys.md); none: those of the document.
    """

    name: TargetName = Field(
        description="Names the target in commands, alerts and the vault. Another name is another target.",
        examples=["shop", "files"],
    )
    kind: TargetKind
    recipients: tuple[AgeRecipient, ...] = Field(
        default=(),
        description="age public keys of this target alone. Empty: those of the document.",
        examples=[["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]],
    )
    schedule: Schedule | None = Field(
        default=None,
        description="When this target is backed up, in place of the template's rules. null: by the template's rules.",
        examples=[{"expression": "cron(30 3 * * ? *)", "time_zone": "Europe/Zurich"}],
    )
    retention: Retention = Field(
        default=Retention(), description="How long backups are kept.", examples=[{"daily_days": 30}]
    )
    freshness: Freshness = Field(
        default=Freshness(), description="When a missing backup is reported.", examples=[{"late_hours": 2}]
    )
    objectives: Objective = Field(
        default=Objective(),
        description="How much may be lost and how long a restore may take. null: as the document says.",
        examples=[{"rpo_minutes": 60}],
    )
    alerts: TargetAlerts = Field(
        default=TargetAlerts(), description="What counts as unusual.", examples=[{"duration_minutes": 15}]
    )
    drill: Drill | BucketDrill
    confirmation: ConfirmationRules | None = Field(
        default=None,
        description="What a confirmation of what replaces or deletes needs. null: as the document says.",
        examples=[{"approvals": 1}],
    )

    @model_validator(mode="after")
    def _objectives_agree(self) -> Self:
        own, of_drill = self.objectives.rto_minutes, self.drill.rto_minutes
        if None not in (own, of_drill) and own != of_drill:
            raise ValueError(f"objectives.rto_minutes is {own} and drill.rto_minutes is {of_drill}: say one of them")
        return self


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


Provider = Literal["auto", "plain", "supabase", "neon", "rds", "aurora"]


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
        default=Patterns(), description="Which schemas are backed up.", examples=[{"exclude": ["audit_*"]}]
    )
    tables: TablePatterns = Field(
        default=TablePatterns(),
        description="Which tables are backed up, and which without their rows.",
        examples=[{"exclude_data": ["public.sessions"]}],
    )
    limits: Limits = Field(default=Limits(), description="What a run may use.", examples=[{"streams": 4}])
    tls: Tls = Field(default=Tls(), description="How the server's certificate is checked.", examples=[{"ca": "system"}])
    drill: Drill = Field(
        default=Drill(), description="How backups are proven by restoring them.", examples=[{"rto_minutes": 60}]
    )


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


def is_gone(target: AnyTarget) -> bool:
    """Return whether a target is a database that its server does not have any more."""
    return isinstance(target, FoundDatabase) and target.gone_since is not None


# As S3 names buckets, and more widely: Supabase takes spaces, upper case and others too. Never a slash: it ends the
# bucket's in the name of an entry.
BucketName = Annotated[str, Field(pattern=r"^[^/\\\x00-\x1f\x7f]{1,255}$", description="a bucket's name")]


class BucketSource(Document):
    """One bucket, or some of its objects.

    `prefixes` are starts of keys (none: all objects). `include` and `exclude` are patterns of whole keys: `*` stands
    for any characters but a slash, `**` for any, `?` for one character; an object is taken when it matches one of
    `include` (or `include` is empty) and none of `exclude`.
    """

    name: BucketName = Field(description="The bucket; unique in the list.", examples=["avatars"])
    prefixes: tuple[str, ...] = Field(
        default=(),
        description="Only keys that start with one of these are listed. Empty: all.",
        examples=[["invoices/"]],
    )
    include: tuple[str, ...] = Field(
        default=(), description="Patterns of whole keys that are backed up. Empty: all.", examples=[["**.pdf"]]
    )
    exclude: tuple[str, ...] = Field(
        default=(), description="Patterns of whole keys that are left out.", examples=[["**.tmp"]]
    )


class ObjectStore(Document):
    """Where buckets are, and how to get in: AWS's own S3 with the function's role when nothing is said.

    `secret` names a Secrets Manager secret with `access_key_id`, `secret_access_key` and perhaps `session_token`.
    """

    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/?#@\s]+(/[^?#@\s]*)?$",
        description="Address of a store that is not AWS. null: AWS S3.",
        examples=["https://account.r2.cloudflarestorage.com"],
    )
    region: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]+$",
        description="The region that requests are signed for. null: the stack's, or the one that fits the store.",
        examples=["eu-central-1"],
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto",
        description="Where the bucket's name stands in an address. auto: in the path if an endpoint is given.",
        examples=["path"],
    )
    secret: str | None = Field(
        default=None,
        min_length=1,
        description="Name of the secret with the access key, below coffre/storage/. null: the function's role.",
        examples=["coffre/storage/r2"],
    )


class ObjectLimits(Document):
    """What a run may use. `streams` is the number of connections that read objects in parallel.

    A backup that does not fit into one invocation continues in the next one, `invocations` at most.
    """

    streams: int = Field(
        default=16,
        ge=1,
        le=64,
        description="Number of connections that read objects in parallel.",
        examples=[32],
        json_schema_extra={"unit": "connections"},
    )
    compression_level: int = Field(
        default=3,
        ge=1,
        le=19,
        description="The zstd level; data that is compressed already is stored at level 1.",
        examples=[6],
        json_schema_extra={"unit": "zstd level"},
    )
    invocations: int = Field(
        default=24,
        ge=1,
        le=200,
        description="Maximum number of invocations of the function for one backup.",
        examples=[48],
        json_schema_extra={"unit": "invocations"},
    )


class BucketLimits(ObjectLimits):
    """What a backup of buckets may use: what one function cannot do may also be divided among several.

    Each of `functions` reads with `streams` connections (docs/large-databases.md).
    """

    spread: Literal["auto", "never", "always"] = Field(
        default="auto",
        description="Whether several functions read ranges of names. auto: what one has not enough time for.",
        examples=["never"],
    )
    functions: int = Field(
        default=8,
        ge=1,
        le=64,
        description="Number of functions that read ranges of names together, each with `streams` connections.",
        examples=[16],
        json_schema_extra={"unit": "functions"},
    )


class BucketTarget(Target):
    """Buckets of one object store that are backed up together.

    `attributes` says how changes of tags and grants alone, which a listing does not show, are found: `listed` does not
    look for them, `compare` reads the tags (and grants) of unchanged objects too. `attributes_every` spreads that over
    this number of backups, each comparing its share.
    """

    kind: Literal[TargetKind.BUCKET] = Field(description="What the target is: buckets.", examples=["bucket"])
    store: ObjectStore = Field(
        default=ObjectStore(),
        description="Where the buckets are, and how to get in.",
        examples=[{"endpoint": "https://account.r2.cloudflarestorage.com", "secret": "coffre/storage/r2"}],
    )
    buckets: tuple[BucketSource, ...] = Field(
        min_length=1, description="The buckets that are backed up together.", examples=[[{"name": "avatars"}]]
    )
    attributes: Literal["listed", "compare"] = Field(
        default="listed",
        description="How changes are found: by the listing alone, or by reading tags and grants too.",
        examples=["compare"],
    )
    attributes_every: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="With compare: each unchanged object is compared in one of this number of backups.",
        examples=[7],
        json_schema_extra={"unit": "backups"},
    )
    limits: BucketLimits = Field(default=BucketLimits(), description="What a run may use.", examples=[{"streams": 32}])
    drill: BucketDrill = Field(
        default=BucketDrill(), description="How backups are proven by restoring objects.", examples=[{"objects": 500}]
    )

    @model_validator(mode="after")
    def _buckets_are_unique(self) -> BucketTarget:
        names = [bucket.name for bucket in self.buckets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each bucket is named once, with all its prefixes; named twice: {', '.join(twice)}")
        return self


# A pattern of names: no control characters, no spaces. Secrets Manager and SSM allow letters, digits and `/_+=.@-`.
NamePattern = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9/_+=.@*?-]{1,512}$", description="a name, in which * ** and ? stand for others")
]


class SettingsTarget(Target):
    """Secrets, parameters and files with settings (docs/settings.md). They are always encrypted.

    In a pattern `*` stands for any characters but a slash, `**` for any, `?` for one. Files are handed in by
    `coffre backup settings --file`; each stays in later backups until another one of its name is handed in.
    """

    kind: Literal[TargetKind.SETTINGS] = Field(description="What the target is: settings.", examples=["settings"])
    secrets: tuple[NamePattern, ...] = Field(
        default=(),
        max_length=100,
        description="Patterns of names of Secrets Manager secrets. Empty: none. Never coffre/identity/.",
        examples=[["app/prod/*"]],
    )
    parameters: tuple[NamePattern, ...] = Field(
        default=(),
        max_length=100,
        description="Patterns of names of SSM parameters, SecureString too. Empty: none.",
        examples=[["/app/prod/**"]],
    )
    exclude: tuple[NamePattern, ...] = Field(
        default=(),
        max_length=100,
        description="Patterns of names of secrets and parameters that are left out.",
        examples=[["app/prod/tmp-*"]],
    )
    coffre: bool = Field(
        default=True,
        description="Whether Coffre's own configuration and the stack's parameters are backed up too.",
        examples=[False],
    )
    schedule: Schedule | None = Field(
        default=Schedule(expression="cron(30 1 * * ? *)"),
        description="When this target is backed up. null: by the template's rules for buckets.",
        examples=[{"expression": "rate(6 hours)"}],
    )
    limits: ObjectLimits = Field(default=ObjectLimits(), description="What a run may use.", examples=[{"streams": 4}])
    drill: BucketDrill = Field(
        default=BucketDrill(),
        description="How backups are proven. Every value is decrypted and nothing is written; objects 0: no drills.",
        examples=[{"rto_minutes": 30}],
    )

    # What the engine of buckets asks of a target.
    store: ClassVar[ObjectStore] = ObjectStore()
    attributes: ClassVar[Literal["listed", "compare"]] = "listed"
    attributes_every: ClassVar[int] = 1

    @property
    def buckets(self) -> tuple[BucketSource, ...]:
        """The folders of names that a backup has, each as if it were a bucket."""
        chosen = [BucketSource(name=FILES)]
        chosen += [BucketSource(name=COFFRE)] if self.coffre else []
        for folder, patterns in ((SECRETS, self.secrets), (PARAMETERS, self.parameters)):
            if patterns:
                chosen.append(BucketSource(name=folder, include=patterns, exclude=self.exclude))
        return tuple(sorted(chosen, key=lambda one: one.name))


class RepositoryTarget(Target):
    """Git repositories that are backed up together (docs/repositories.md)."""

    kind: Literal[TargetKind.REPOSITORY] = Field(
        description="What the target is: repositories.", examples=["repository"]
    )
    repositories: tuple[RepositorySource, ...] = Field(
        default=(),
        max_length=1000,
        description="Repositories by their addresses.",
        examples=[[{"url": "https://github.com/acme/web.git", "secret": "coffre/repository/github"}]],
    )
    organisations: tuple[Organisation, ...] = Field(
        default=(),
        max_length=100,
        description="Organisations whose repositories are found at each backup.",
        examples=[[{"forge": "github", "name": "acme", "secret": "coffre/repository/github"}]],
    )
    lfs: bool = Field(default=True, description="Whether objects of Git LFS are backed up too.", examples=[False])
    pull_requests: bool = Field(
        default=False,
        description="Whether the forge's own refs are backed up: refs/pull, refs/merge-requests and others.",
        examples=[True],
    )
    schedule: Schedule | None = Field(
        default=Schedule(expression="cron(0 2 * * ? *)"),
        description="When this target is backed up. null: by the template's rules for buckets.",
        examples=[{"expression": "rate(6 hours)"}],
    )
    limits: ObjectLimits = Field(default=ObjectLimits(), description="What a run may use.", examples=[{"streams": 4}])
    drill: BucketDrill = Field(
        default=BucketDrill(),
        description="How backups are proven. Every repository is cloned from its bundles; objects 0: no drills.",
        examples=[{"rto_minutes": 30}],
    )

    @model_validator(mode="after")
    def _something_is_named(self) -> RepositoryTarget:
        if not self.repositories and not self.organisations:
            raise ValueError("name at least one of repositories and organisations")
        names = [one.address.name for one in self.repositories]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each repository is named once; named twice: {', '.join(twice)}")
        return self

    # What the engine of buckets asks of a target.
    store: ClassVar[ObjectStore] = ObjectStore()
    attributes: ClassVar[Literal["listed", "compare"]] = "listed"
    attributes_every: ClassVar[int] = 1

    @property
    def buckets(self) -> tuple[BucketSource, ...]:
        """The hosts, each as if it were a bucket."""
        hosts = {one.address.bucket for one in self.repositories}
        hosts |= {one.address_of("any").bucket for one in self.organisations}
        return tuple(BucketSource(name=host) for host in sorted(hosts))


# The folders of settings in a backup.
FILES: Final = "files"
COFFRE: Final = "coffre"
SECRETS: Final = "secrets"
PARAMETERS: Final = "parameters"

ObjectTarget = BucketTarget | SettingsTarget | RepositoryTarget
AnyTarget = DatabaseTarget | BucketTarget | SettingsTarget | RepositoryTarget
