"""What a function reads from its environment, once, into a frozen class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from coffre.model.document import describe_validation
from coffre.model.errors import SettingsError

_PREFIX = "COFFRE_"


class Settings(BaseModel):
    """Settings of every function; each is the environment variable `COFFRE_<NAME>`.

    `configuration` is an SSM parameter's name, or `file:` and a path. `vault_checksum` is how the vault's store checks
    uploads: `sha256` (AWS and most), or `md5` for S3-compatible stores that reject the newer checksums.
    `vault_object_lock` is the mode of the locks that backups get (docs/immutability.md), `vault_lock_max_days` the
    longest one that the stack's policies allow. `identity_secret` names the secret with the age identities; functions
    that do not read backups have none.
    `backup_database_function` and `backup_storage_function` are for functions that ask or start them: verify asks what
    doctor sees, and the backup of a database starts those of the buckets of its restore point. `journal_function` is
    for verify, which has it look after the slots of journals.
    `access_log_bucket` has the logs of accesses to the vault, if they exist. `own_roles` has the names of the stack's
    roles, between commas: for the function that looks at the logs those that use the vault, and for those that take
    approvals also those that are no person (docs/identity.md). `stack` is the stack's name, for the
    function that backs its parameters up. `console_role` is the name of the console's role, if the stack has a console:
    it says who sent an event (docs/identity.md). `export_bucket` has the files of exports, if it does, and
    `console_address` is where browsers find it, unless the configuration says another address.
    `ranges_machine` is the ARN of the state machine for buckets that one function cannot read. `spread_range_objects`
    makes its ranges smaller than time demands, where that is to be seen at work.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)

    configuration: str = Field(min_length=1)
    vault_bucket: str = Field(min_length=1)
    vault_prefix: str = ""
    vault_checksum: Literal["sha256", "md5"] = "sha256"
    vault_object_lock: Literal["off", "governance", "compliance"] = "off"
    vault_lock_max_days: int = Field(default=400, ge=1)
    catalog_table: str = Field(min_length=1)
    alert_topic_arn: str = Field(min_length=1)
    identity_secret: str | None = None
    access_log_bucket: str | None = None
    backup_database_function: str | None = None
    backup_storage_function: str | None = None
    journal_function: str | None = None
    own_roles: str = ""
    stack: str | None = None
    console_role: str | None = None
    export_bucket: str | None = None
    console_address: str | None = None
    ranges_machine: str | None = None
    spread_range_objects: int | None = Field(default=None, gt=0)

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings.

        Raises
        ------
        SettingsError
            Names every variable that is missing or wrong.
        """
        values = {
            name: environment[_PREFIX + name.upper()]
            for name in cls.model_fields
            if environment.get(_PREFIX + name.upper())
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = [f"{_PREFIX}{line[0].upper()}: {line[1]}" for line in _named(error)]
            raise SettingsError(
                "The function's environment is incomplete.",
                detail="; ".join(lines),
                hint="These variables are set by template.yaml: deploy the stack again.",
            ) from error


class PostgresSettings(Settings):
    """Settings of the functions that run PostgreSQL's programs; `postgres_home` is where their layer has them.

    `spread_machine` is the ARN of the state machine for what one function cannot finish. `spread_hold_seconds` and
    `spread_group_bytes` make its holders and groups smaller than time demands, where that is to be seen at work.
    """

    postgres_home: Path = Path("/opt/postgresql")
    spread_machine: str | None = None
    spread_hold_seconds: float | None = Field(default=None, gt=0)
    spread_group_bytes: int | None = Field(default=None, gt=0)


class RestoreSettings(Settings):
    """Settings of the function that restores: the ARN of the state machine that has rows loaded by several of it."""

    spread_machine: str | None = None


class NotifySettings(Settings):
    """Settings of the function that sends alerts on.

    `alert_urls_secret` holds the URLs; `runbooks_url` is the folder in which the runbooks can be read, if they can.
    """

    alert_urls_secret: str = Field(min_length=1)
    runbooks_url: str | None = None


class ConsoleSettings(Settings):
    """Settings of the console.

    `stack` begins the names of the functions. `console_address` is where browsers find it, unless the configuration
    says another address. `schedules` is the stack's output of this name. `alert_urls` says whether the stack has the
    function notify. `download_role` is the ARN of the role whose credentials sign the addresses of exported files.
    `users_issuer` and `users_client` are of the user pool that the stack has made, if it has one.
    """

    stack: str = Field(min_length=1)
    console_address: str = Field(min_length=1)
    schedules: str = ""
    alert_urls: bool = False
    download_role: str = Field(min_length=1)
    users_issuer: str | None = None
    users_client: str | None = None


def _named(error: ValidationError) -> list[tuple[str, str]]:
    pairs = (line.split(": ", 1) for line in describe_validation(error))
    return [(name, "missing" if text == "Field required" else text) for name, text in pairs]
