"""Where configuration and secrets come from: SSM and Secrets Manager, with one clear error for each refusal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import BotoCoreError, ClientError

from coffre.catalog.catalog import Catalog
from coffre.model.configuration import Configuration, parse_configuration
from coffre.model.configuration_version import CurrentConfiguration
from coffre.model.errors import CoffreError, ConfigurationError, SecretError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

type Stage = Literal["AWSCURRENT", "AWSPENDING"]


def read_configuration(catalog: Catalog, ssm: SSMClient, place: str) -> CurrentConfiguration:
    """Read which configuration document is in effect: the newest version, or the template's until one was written.

    Parameters
    ----------
    place
        Where the template's document is: the name of an SSM parameter, or `file:` and a path.

    Raises
    ------
    ConfigurationError
        `CONFIGURATION_MISSING`: no version was ever written, and the template's document cannot be read.
    CatalogError
        The catalog does not answer: then it is not known which document is in effect.
    """
    version = catalog.configurations.newest()
    try:
        template, template_at = _read_template(ssm, place)
    except ConfigurationError:
        if version is None:
            raise
        return CurrentConfiguration(version, None, None, place)
    return CurrentConfiguration(version, template, template_at, place)


def configurations(catalog: Catalog, current: CurrentConfiguration) -> Iterator[tuple[datetime, Configuration | None]]:
    """Yield what was in effect, the newest first, each with since when; None: it is not valid by the rules of now.

    Records of versions that cannot be read end it. The template's document is the first, if it is older than they are.
    """
    first = current.template_at
    with suppress(CoffreError):
        for version in catalog.configurations.all():
            yield version.at, _parsed(version.document)
            first = None if first is not None and first >= version.at else first
    if current.template is not None and first is not None:
        yield first, _parsed(current.template)


def _parsed(document: str) -> Configuration | None:
    try:
        return parse_configuration(document, where="an earlier version")
    except ConfigurationError:
        return None


def _read_template(ssm: SSMClient, place: str) -> tuple[str, datetime | None]:
    is_file = place.startswith("file:")
    return _read_file(Path(place.removeprefix("file:"))) if is_file else _read_parameter(ssm, place)


def _read_file(path: Path) -> tuple[str, datetime | None]:
    try:
        return path.read_text(), datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"The configuration document {path} cannot be read.",
            code="CONFIGURATION_MISSING",
            detail=error.strerror if isinstance(error, OSError) else "It is not text in UTF-8.",
            hint="Check the path in COFFRE_CONFIGURATION.",
        ) from error


def _read_parameter(ssm: SSMClient, name: str) -> tuple[str, datetime | None]:
    try:
        parameter = ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]
        changed_at = parameter.get("LastModifiedDate")
        return parameter["Value"], changed_at.astimezone(UTC) if changed_at else None
    except (ClientError, BotoCoreError) as error:
        raise ConfigurationError(
            f"The configuration document could not be read from the SSM parameter {name}.",
            code="CONFIGURATION_MISSING",
            detail=_aws_words(error),
            hint="Check that the parameter exists and that the function's role has ssm:GetParameter on it.",
        ) from error


def read_secret(client: SecretsManagerClient, reference: str, stage: Stage = "AWSCURRENT") -> str:
    """Return the value of a secret by name or ARN; while it is rotated, `AWSPENDING` has the value to come.

    Raises
    ------
    SecretError
        `SECRET_MISSING`, `SECRET_DENIED`, or `SECRET_UNREADABLE`. The value is never in a message.
    """
    try:
        if stage == "AWSCURRENT":
            value = client.get_secret_value(SecretId=reference)
        else:
            value = client.get_secret_value(SecretId=reference, VersionStage=stage)
    except ClientError as error:
        raise _secret_error(reference, error) from error
    except BotoCoreError as error:
        raise SecretError(
            f"The secret {reference} could not be read.",
            code="SECRET_UNREADABLE",
            detail=_aws_words(error),
            hint="Check that the function's network reaches Secrets Manager.",
        ) from error
    text = value.get("SecretString")
    if not text:
        raise SecretError(
            f"The secret {reference} has no text.",
            code="SECRET_SHAPE",
            hint="Store a database URL, or JSON with host, port, username, password and dbname, as text.",
        )
    return text


def _secret_error(reference: str, error: ClientError) -> SecretError:
    code = error.response.get("Error", {}).get("Code", "")
    if code == "ResourceNotFoundException":
        return SecretError(
            f"There is no secret {reference}.",
            code="SECRET_MISSING",
            hint="Create it in Secrets Manager in this region, or correct the name in the configuration.",
        )
    if code in ("AccessDeniedException", "AccessDenied"):
        return SecretError(
            f"The function may not read the secret {reference}.",
            code="SECRET_DENIED",
            hint="Name the secret coffre/database/..., or give its ARN to the template (DatabaseSecret).",
        )
    return SecretError(
        f"The secret {reference} could not be read.",
        code="SECRET_UNREADABLE",
        detail=_aws_words(error),
        hint="The detail is AWS's own answer. Look at the secret, and at its KMS key if it has one of its own.",
    )


def _aws_words(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError):
        answer = error.response.get("Error", {})
        return f"{answer.get('Code', '')}: {answer.get('Message', '')}"[:500]
    return str(error)[:500]
