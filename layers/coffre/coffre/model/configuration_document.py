"""The fields of the configuration document, and what they have to agree on.

Unknown fields are errors. Each field has a description, an example, and if it is a number a unit:
docs/configuration.schema.json is made of them, and a test demands them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from coffre.model.age_recipient import AgeRecipient
from coffre.model.alert_rules import FleetAlerts
from coffre.model.bucket_target import BucketTarget
from coffre.model.confirmation_rules import ConfirmationRules
from coffre.model.console import Console
from coffre.model.copies import Destination
from coffre.model.database_target import DatabaseTarget
from coffre.model.document import KIND_UNKNOWN, Document
from coffre.model.kinds import TargetKind
from coffre.model.objectives import Contact, Objectives
from coffre.model.point_options import Point
from coffre.model.repository_target import RepositoryTarget
from coffre.model.settings_target import SettingsTarget

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


class ConfigurationDocument(Document):
    """What the document says, field by field."""

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
        default=Objectives.model_construct(),
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
        default=FleetAlerts.model_construct(),
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
        default=ConfirmationRules.model_construct(),
        description="What a confirmation of what replaces or deletes needs.",
        examples=[{"approvals": 1}],
    )
    access: Access = Field(
        default=Access.model_construct(),
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

    @model_validator(mode="after")
    def _recipients_fit_encryption(self) -> Self:
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
    def _settings_are_encrypted(self) -> Self:
        if self.encryption == "none" and self.settings:
            named = ", ".join(target.name for target in self.settings)
            raise ValueError(f'settings are never stored unencrypted: say "encryption": "age", or leave out {named}')
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        _refuse_repeated("target needs its own name", (target.name for target in self.targets))
        return self

    @model_validator(mode="after")
    def _copies_are_of_targets(self) -> Self:
        _refuse_repeated("copy needs its own name", (copy.name for copy in self.copies))
        known = {target.name for target in self.targets}
        unknown = sorted({name for copy in self.copies for name in copy.targets} - known)
        if unknown:
            raise ValueError(f"copies name targets that do not exist: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _console_names_targets(self) -> Self:
        known = {target.name for target in self.targets}
        if self.console and (unknown := sorted(self.console.named_targets - known)):
            raise ValueError(f"console names targets that do not exist: {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _points_are_of_targets(self) -> Self:
        _refuse_repeated("point needs its own name", (point.name for point in self.points))
        _refuse_repeated(
            "target belongs to one point at most", (name for point in self.points for name in point.targets)
        )
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
    def all_recipients(self) -> tuple[str, ...]:
        """Every public key that a target's next backup is encrypted to."""
        return tuple(dict.fromkeys(key for target in self.targets for key in self.recipients_of(target.name)))

    def recipients_of(self, name: str) -> tuple[str, ...]:
        """Return the public keys that backups of a target are encrypted to: its own, or else the document's."""
        own = next((target.recipients for target in self.targets if target.name == name), ())
        return own or self.recipients


def _refuse_repeated(rule: str, names: Iterable[str]) -> None:
    given = list(names)
    if repeated := sorted({name for name in given if given.count(name) > 1}):
        raise ValueError(f"each {rule}; used twice: {', '.join(repeated)}")
