"""Where settings are written back to: Secrets Manager and SSM. New versions are written, and nothing is deleted.

AWS repeats what it was sent in some of its messages, and so a value: of a refusal only the code is passed on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from coffre.model.errors import DestinationError
from coffre.model.setting import Setting

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

_ABSENT: Final = frozenset({"ResourceNotFoundException", "ParameterNotFound"})
_EXISTS: Final = "ResourceExistsException"
_STANDARD: Final = "Standard"
_HINTS: Final = {
    "AccessDeniedException": "Your AWS credentials need {action} on it, and its KMS key if it has one of its own.",
    "InvalidRequestException": "Is it scheduled for deletion? aws secretsmanager restore-secret --secret-id NAME",
    "InvalidKeyId": "Its KMS key does not exist here: --default-key uses the account's own.",
    "EncryptionFailure": "Its KMS key cannot be used here: --default-key uses the account's own.",
}


class SettingsPlace(Protocol):
    """Something that holds settings of one kind by name. Its methods raise `DestinationError`."""

    def read(self, name: str) -> bytes | None:
        """Return the current value; None when it does not exist."""

    def change(self, name: str, setting: Setting) -> None:
        """Write a new version of what exists."""

    def create(self, name: str, setting: Setting) -> None:
        """Write what does not exist."""


@dataclass(frozen=True)
class Secrets:
    """Secrets Manager. With `default_key` new secrets are encrypted with the account's own key."""

    client: SecretsManagerClient
    default_key: bool = False

    def read(self, name: str) -> bytes | None:
        """Return the value of a secret."""
        found = _read("secretsmanager:GetSecretValue", name, lambda: self.client.get_secret_value(SecretId=name))
        if found is None:
            return None
        text = found.get("SecretString")
        return bytes(found["SecretBinary"]) if text is None else text.encode()

    def change(self, name: str, setting: Setting) -> None:
        """Put a new version, which becomes AWSCURRENT; the one before stays as AWSPREVIOUS."""
        value = self._value(setting)
        _ask("secretsmanager:PutSecretValue", name, lambda: self.client.put_secret_value(SecretId=name, **value))

    def create(self, name: str, setting: Setting) -> None:
        """Make the secret with its description, tags and key; one that exists without a value gets this one."""
        facts = setting.facts
        about: dict[str, Any] = {"Description": facts.description} if facts.description else {}
        if facts.tags:
            about["Tags"] = [{"Key": key, "Value": value} for key, value in facts.tags.items() if key[:4] != "aws:"]
        if facts.kms_key and not self.default_key:
            about["KmsKeyId"] = facts.kms_key
        wanted = {**about, **self._value(setting)}
        try:
            _ask("secretsmanager:CreateSecret", name, lambda: self.client.create_secret(Name=name, **wanted))
        except DestinationError as error:
            if error.detail != _EXISTS:
                raise
            self.change(name, setting)  # templates of infrastructure make secrets before they have a value

    @staticmethod
    def _value(setting: Setting) -> dict[str, Any]:
        if setting.facts.type == "text":
            return {"SecretString": setting.value.decode()}
        return {"SecretBinary": setting.value}


@dataclass(frozen=True)
class Parameters:
    """SSM's parameter store. With `default_key` SecureStrings are encrypted with the account's own key."""

    client: SSMClient
    default_key: bool = False

    def read(self, name: str) -> bytes | None:
        """Return the value of a parameter."""
        found = _read("ssm:GetParameter", name, lambda: self.client.get_parameter(Name=name, WithDecryption=True))
        return None if found is None else found["Parameter"]["Value"].encode()

    def change(self, name: str, setting: Setting) -> None:
        """Put a new version; the history of the parameter keeps those before."""
        self._put(name, setting, overwrite=True)

    def create(self, name: str, setting: Setting) -> None:
        """Make the parameter with its type, description and key."""
        self._put(name, setting, overwrite=False)

    def _put(self, name: str, setting: Setting, *, overwrite: bool) -> None:
        facts = setting.facts
        wanted: dict[str, Any] = {"Description": facts.description} if facts.description else {}
        wanted |= {"DataType": facts.data_type} if facts.data_type and not overwrite else {}
        wanted |= {"Tier": facts.tier} if facts.tier else {}
        wanted |= {"KeyId": facts.kms_key} if facts.kms_key and not self.default_key else {}
        wanted |= {"Name": name, "Value": setting.value.decode(), "Type": facts.type, "Overwrite": overwrite}
        try:
            _ask("ssm:PutParameter", name, lambda: self.client.put_parameter(**wanted))
        except DestinationError as error:
            if not overwrite or facts.tier != _STANDARD or error.detail != "ValidationException":
                raise
            # One that is of the tier Advanced by now cannot become a standard one (SSM's PutParameter, 2026-11).
            wanted |= {"Tier": "Advanced"}
            _ask("ssm:PutParameter", name, lambda: self.client.put_parameter(**wanted))


def _read[T](action: str, name: str, call: Callable[[], T]) -> T | None:
    """Return what AWS answers; None when the name does not exist."""
    try:
        return _ask(action, name, call)
    except DestinationError as error:
        if error.detail in _ABSENT:
            return None
        raise


def _ask[T](action: str, name: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        raise DestinationError(
            f"{action} failed for {name}.",
            code="SETTING_REFUSED",
            detail=code,
            hint=_HINTS.get(code, "Look the code up in AWS's documentation of this call.").format(action=action),
        ) from None
    except BotoCoreError as error:
        raise DestinationError(
            f"AWS did not answer {action} for {name}.",
            code="SETTING_REFUSED",
            detail=type(error).__name__,
            hint="Check the region, the network, and your AWS credentials.",
        ) from None
