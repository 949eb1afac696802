"""The configuration document: which targets exist, and what holds for all of them.

JSON, in versions (`configuration_version`). Unknown fields are errors. Each field has a description, an example, and if
it is a number a unit: docs/configuration.schema.json is made of them, and a test demands them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PrivateAttr, Tag, ValidationError, model_validator

from coffre.model.alert_rules import FleetAlerts
from coffre.model.any_target import AnyTarget, ObjectTarget
from coffre.model.bucket_target import BucketTarget
from coffre.model.confirmation import ConfirmationRules
from coffre.model.console import Console
from coffre.model.copies import Destination
from coffre.model.database_target import DatabaseTarget, FoundDatabase
from coffre.model.document import KIND_UNKNOWN, Document, describe_validation, parse_json
from coffre.model.errors import ConfigurationError, CopyUnknownError, TargetUnknownError
from coffre.model.kinds import TargetKind
from coffre.model.objectives import Contact, Objective, Objectives
from coffre.model.points import Point
from coffre.model.repository_target import RepositoryTarget
from coffre.model.server import SeenDatabase, usable
from coffre.model.settings_target import SettingsTarget
from coffre.model.target import AgeRecipient
from coffre.model.words import counted

PrincipalPattern = Annotated[
    str,
    # The account has to be said: a pattern that every principal fits would turn the alert off.
    Field(
        pattern=r"^(arn:aws[a-z-]*:(iam|sts)::[0-9]{12}:[A-Za-z0-9+=,.@_/:*-]{1,1024}|[0-9a-f]{64}|svc:[a-z0-9.-]{1,128})$",
        description="an ARN with its account, such as arn:aws:sts::123456789012:assumed-role/Operators/*",
    ),
]


def _kind_of(target: object) -> str | None:
    """Return which kind of target a value is meant to be: a database when it does not say."""
    kind = target.get("kind", TargetKind.DATABASE) if isinstance(target, dict) else getattr(target, "kind", None)
    return kind if isinstance(kind, str) and kind in set(TargetKind) else None


Target = Annotated[
    Annotated[DatabaseTarget, Tag("database")]
    | Annotated[BucketTarget, Tag("bucket")]
    | Annotated[SettingsTarget, Tag("settings")]
    | Annotated[RepositoryTarget, Tag("repository")],
    Discriminator(
        _kind_of,
        custom_error_type=KIND_UNKNOWN,
        custom_error_message="should be 'database', 'bucket', 'settings' or 'repository'",
    ),
]


class Access(Document):
    """Who may access the vault's bucket without an alert: patterns of ARNs, in which `*` stands for any text."""

    expected: tuple[PrincipalPattern, ...] = Field(
        default=(),
        max_length=100,
        description="Principals that may access the vault without the alert VAULT_ACCESSED; * stands for any text.",
        examples=[["arn:aws:sts::123456789012:assumed-role/Operators/*"]],
    )


class Configuration(Document):
    """The whole document.

    `encryption` is `age` (then `recipients`, or those of each target, hold at least one public key) or, explicitly,
    `none`.
    `vault_quota_bytes` is what the vault may hold before an alert says so. `access` says who may access the vault
    besides Coffre.
    `confirmation` holds for targets that have no rules of their own (docs/confirmation.md).
    """

    version: Literal[1] = Field(default=1, description="Version of the document's format.", examples=[1])
    encryption: Literal["age", "none"] = Field(
        description="age encrypts every backup to the recipients; none stores them as they are, and is reported.",
        examples=["age"],
    )
    recipients: tuple[AgeRecipient, ...] = Field(
        default=(),
        description="age public keys that backups are encrypted to; any one of their private keys opens a backup.",
        examples=[["age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"]],
    )
    targets: tuple[Target, ...] = Field(
        min_length=1,
        description="What is backed up: databases, buckets and settings, each with a name of its own.",
        examples=[[{"name": "shop", "secret": "coffre/database/shop"}]],
    )
    copies: tuple[Destination, ...] = Field(
        default=(),
        max_length=20,
        description="Where each backup is copied to: other regions, accounts, providers, or a disk.",
        examples=[[{"name": "offsite", "store": {"type": "s3", "bucket": "acme-coffre-copy"}}]],
    )
    objectives: Objectives = Field(
        default=Objectives(),
        description="How much may be lost and how long a restore may take, by component. A target's own come first.",
        examples=[{"database": {"rpo_minutes": 60, "rto_minutes": 15}}],
    )
    contacts: tuple[Contact, ...] = Field(
        default=(),
        max_length=20,
        description="Whom to call: in the page of the report and in the recovery kit.",
        examples=[[{"name": "Ada Lovelace", "role": "database owner", "phone": "+41 44 000 00 00"}]],
    )
    points: tuple[Point, ...] = Field(
        default=(),
        max_length=20,
        description="Restore points: a database and its buckets, which are backed up together.",
        examples=[[{"name": "shop", "database": "shop", "buckets": ["files"], "objects": {"type": "supabase"}}]],
    )
    alerts: FleetAlerts = Field(
        default=FleetAlerts(),
        description="What is reported about all targets together.",
        examples=[{"key_rotation_days": 365}],
    )
    vault_quota_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Sends QUOTA when the vault holds 80 % of this. Nothing is refused or deleted. null: never.",
        examples=[500_000_000_000],
        json_schema_extra={"unit": "bytes"},
    )
    confirmation: ConfirmationRules = Field(
        default=ConfirmationRules(),
        description="What a confirmation of what replaces or deletes needs.",
        examples=[{"approvals": 1}],
    )
    access: Access = Field(
        default=Access(),
        description="Who may access the vault besides Coffre.",
        examples=[{"expected": ["arn:aws:sts::123456789012:assumed-role/Operators/*"]}],
    )
    console: Console | None = Field(
        default=None,
        description="Who may use the console and its API. null: it lets no one in.",
        examples=[
            {
                "issuer": "https://login.example.com/realms/acme",
                "client_id": "coffre",
                "roles": [{"group": "dba", "role": "admin"}],
            }
        ],
    )
    _servers: tuple[DatabaseTarget, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _recipients_fit_encryption(self) -> Configuration:
        without = [target.name for target in self.targets if not self.recipients_of(target.name)]
        if self.encryption == "age" and without:
            named = ", ".join(without)
            raise ValueError(
                f'encryption is "age" but recipients is empty, for {named}: make a key with `coffre keys new`'
            )
        if self.encryption == "none" and self.all_recipients:
            raise ValueError('encryption is "none" but recipients are given: remove them, or say "age"')
        return self

    @model_validator(mode="after")
    def _settings_are_encrypted(self) -> Configuration:
        if self.encryption == "none" and self.settings:
            named = ", ".join(target.name for target in self.settings)
            raise ValueError(f'settings are never stored unencrypted: say "encryption": "age", or leave out {named}')
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Configuration:
        names = [target.name for target in self.targets]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each target needs its own name; used twice: {', '.join(twice)}")
        return self

    @model_validator(mode="after")
    def _copies_are_of_targets(self) -> Configuration:
        names = [copy.name for copy in self.copies]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"each copy needs its own name; used twice: {', '.join(twice)}")
        known = {target.name for target in self.targets}
        unknown = sorted({name for copy in self.copies for name in copy.targets} - known)
        if unknown:
            raise ValueError(f"copies name targets that do not exist: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _console_names_targets(self) -> Configuration:
        known = {target.name for target in self.targets}
        if self.console and (unknown := sorted(self.console.named_targets - known)):
            raise ValueError(f"console names targets that do not exist: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _points_are_of_targets(self) -> Configuration:
        names = [point.name for point in self.points]
        used = [name for point in self.points for name in point.targets]
        for what, twice in (("point needs its own name", names), ("target belongs to one point at most", used)):
            if repeated := sorted({name for name in twice if twice.count(name) > 1}):
                raise ValueError(f"each {what}; used twice: {', '.join(repeated)}")
        databases = {one.name: one for one in self.databases if one.databases is None}
        buckets = {one.name: one for one in self.buckets}
        for point in self.points:
            if point.database not in databases:
                raise ValueError(f'the point "{point.name}" needs a database: no target {point.database} is one')
            if unknown := [name for name in point.buckets if name not in buckets]:
                raise ValueError(f'the point "{point.name}" names no target of buckets: {", ".join(unknown)}')
            other = [name for name in point.buckets if buckets[name].schedule != databases[point.database].schedule]
            if other:
                raise ValueError(
                    f'the point "{point.name}" is taken with the schedule of {point.database}: '
                    f"give {', '.join(other)} the same schedule"
                )
        return self

    def expanded(self, seen: Iterable[SeenDatabase]) -> Configuration:
        """Return the configuration in which each server is replaced by its databases, as far as they are known.

        A server without a known database stays a target, so that it is overdue as any other without a backup. `target`
        and `database` still know a server's name.
        """
        known = tuple(seen)
        taken = {target.name for target in self.targets}
        targets: list[AnyTarget] = []
        for target in self.targets:
            found: list[FoundDatabase] = []
            if isinstance(target, DatabaseTarget) and target.databases is not None:
                found = [FoundDatabase.of(target, one) for one in usable(known, target.name, taken).values()]
            found.sort(key=lambda one: one.name)
            targets += found or [target]
        changed = self.model_copy(update={"targets": tuple(targets)})
        changed._servers = self.servers
        return changed

    @property
    def servers(self) -> tuple[DatabaseTarget, ...]:
        """The servers whose databases are targets of their own."""
        return self._servers or tuple(target for target in self.databases if target.databases is not None)

    @property
    def names(self) -> frozenset[str]:
        """The names that the document itself gives: no database that is found gets one of them."""
        return frozenset({one.name for one in self.started_databases} | {one.name for one in self.object_targets})

    @property
    def started_databases(self) -> tuple[DatabaseTarget, ...]:
        """What a run of every database starts: databases that the document names, and servers, which start theirs."""
        own = (one for one in self.databases if one.databases is None and not isinstance(one, FoundDatabase))
        return (*own, *self.servers)

    @property
    def databases(self) -> tuple[DatabaseTarget, ...]:
        """The targets that are databases."""
        return tuple(target for target in self.targets if isinstance(target, DatabaseTarget))

    @property
    def buckets(self) -> tuple[BucketTarget, ...]:
        """The targets that are buckets."""
        return tuple(target for target in self.targets if isinstance(target, BucketTarget))

    @property
    def settings(self) -> tuple[SettingsTarget, ...]:
        """The targets that are settings."""
        return tuple(target for target in self.targets if isinstance(target, SettingsTarget))

    @property
    def repositories(self) -> tuple[RepositoryTarget, ...]:
        """The targets that are repositories."""
        return tuple(target for target in self.targets if isinstance(target, RepositoryTarget))

    @property
    def object_targets(self) -> tuple[ObjectTarget, ...]:
        """The targets whose backups hold objects: buckets, settings and repositories."""
        return (*self.buckets, *self.settings, *self.repositories)

    @property
    def all_recipients(self) -> tuple[str, ...]:
        """Every public key that a target's next backup is encrypted to."""
        return tuple(dict.fromkeys(key for target in self.targets for key in self.recipients_of(target.name)))

    def recipients_of(self, name: str) -> tuple[str, ...]:
        """Return the public keys that backups of a target are encrypted to: its own, or else the document's."""
        own = next((target.recipients for target in self.targets if target.name == name), ())
        return own or self.recipients

    def copies_of(self, name: str) -> tuple[Destination, ...]:
        """Return where backups of a target are copied to."""
        found = next((one for one in self.targets if one.name == name), None)
        server = found.server if isinstance(found, FoundDatabase) else name
        return tuple(copy for copy in self.copies if not copy.targets or {name, server} & set(copy.targets))

    def destination(self, name: str) -> Destination:
        """Return the copy of this name.

        Raises
        ------
        CopyUnknownError
            No copy has it; the message names those that exist.
        """
        for copy in self.copies:
            if copy.name == name:
                return copy
        known = ", ".join(copy.name for copy in self.copies) or "none"
        raise CopyUnknownError(
            f'There is no copy "{name}".', detail=f"Configured copies: {known}", hint="Check the name's spelling."
        )

    def objective_of(self, target: AnyTarget) -> Objective:
        """Return the objectives of a target: its own; then `drill.rto_minutes`; then those of its component."""
        own, component = target.objectives, self.objectives.of_kind(target.kind)
        rtos = (own.rto_minutes, target.drill.rto_minutes, component.rto_minutes)
        return Objective(
            rpo_minutes=component.rpo_minutes if own.rpo_minutes is None else own.rpo_minutes,
            rto_minutes=next((one for one in rtos if one is not None), None),
        )

    def point(self, name: str) -> Point:
        """Return the restore point of this name; raises as `target` does."""
        for point in self.points:
            if point.name == name:
                return point
        known = ", ".join(point.name for point in self.points) or "none"
        raise TargetUnknownError(
            f'There is no restore point "{name}".',
            detail=f"Configured points: {known}",
            hint="Check the name's spelling; docs/points.md shows how one is configured.",
        )

    def point_of(self, target: str) -> Point | None:
        """Return the restore point that a target belongs to."""
        return next((point for point in self.points if target in point.targets), None)

    def confirmation_of(self, target: str) -> ConfirmationRules:
        """Return what a confirmation of what replaces this target needs, or of what deletes a backup of it."""
        own = next((one.confirmation for one in self.targets if one.name == target), None)
        return own or self.confirmation

    def target(self, name: str) -> AnyTarget:
        """Return the target of this name.

        Raises
        ------
        TargetUnknownError
            When no target has it; the message names those that exist.
        """
        return _named(name, (*self.targets, *self.servers), "target")

    def named(self, name: str) -> tuple[AnyTarget, ...]:
        """Return the target of this name, or the databases of the server of this name; raises as `target` does."""
        found = tuple(one for one in self.databases if isinstance(one, FoundDatabase) and one.server == name)
        return found or (self.target(name),)

    def database(self, name: str) -> DatabaseTarget:
        """Return the database of this name; raises as `target` does."""
        return _named(name, (*self.databases, *self.servers), "database target")

    def bucket(self, name: str) -> BucketTarget:
        """Return the bucket target of this name; raises as `target` does."""
        return _named(name, self.buckets, "bucket target")

    def object_target(self, name: str) -> ObjectTarget:
        """Return the target of buckets, settings or repositories of this name; raises as `target` does."""
        return _named(name, self.object_targets, "target of buckets, settings or repositories")

    def repository_target(self, name: str) -> RepositoryTarget:
        """Return the repositories of this name; raises as `target` does."""
        return _named(name, self.repositories, "repository target")

    def settings_target(self, name: str) -> SettingsTarget:
        """Return the settings of this name; raises as `target` does."""
        return _named(name, self.settings, "settings target")


def _named[T: (DatabaseTarget, BucketTarget, SettingsTarget, RepositoryTarget, ObjectTarget, AnyTarget)](
    name: str, targets: tuple[T, ...], what: str
) -> T:
    for target in targets:
        if target.name == name:
            return target
    known = ", ".join(sorted({target.name for target in targets})) or "none"
    raise TargetUnknownError(
        f'There is no {what} "{name}".', detail=f"Configured {what}s: {known}", hint="Check the name's spelling."
    )


def validated(data: object) -> Configuration:
    """Return the configuration of a parsed document; it may name its schema, for editors, as `$schema`."""
    if isinstance(data, dict) and isinstance(data.get("$schema"), str):
        data = {name: value for name, value in data.items() if name != "$schema"}
    return Configuration.model_validate(data)


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
        data: Any = parse_json(text)
    except json.JSONDecodeError as error:
        raise ConfigurationError(
            f"The configuration document in {where} is not valid JSON.",
            detail=f"line {error.lineno}, column {error.colno}: {error.msg}",
            hint="Correct the document; docs/configuration.md shows a complete one.",
        ) from error
    try:
        return validated(data)
    except ValidationError as error:
        lines = describe_validation(error)
        raise ConfigurationError(
            f"The configuration document in {where} has {counted(len(lines), 'wrong value')}.",
            detail="\n  ".join(lines),
            hint="Correct these fields; docs/configuration.md lists every field with its allowed values.",
        ) from error
