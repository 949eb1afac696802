"""Settings as backups read them: secrets, parameters, Coffre's own, and files that were handed in (docs/settings.md).

Each is an object of a folder that stands for a bucket. What identifies a value in readable entries is the version that
its place gives it, never a digest of the value.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, Final, Self

from botocore.exceptions import BotoCoreError, ClientError

from coffre.buckets.object_facts import Listed
from coffre.buckets.plain_source import PlainSource
from coffre.buckets.reader import Piece
from coffre.buckets.s3_xml import ListingPage
from coffre.buckets.settings_errors import settings_error
from coffre.model.errors import CoffreError, RunStoppedError, StoreError, StoreTransientError
from coffre.model.manifest import Entry, ObjectFacts
from coffre.model.setting import Sealed, SettingFacts, wrapped
from coffre.model.settings_target import COFFRE, FILES, PARAMETERS, SECRETS
from coffre.policy.object_keys import key_choice

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient

# Private keys that open backups: a backup must not hold what opens it, and its writer must not read them.
IDENTITIES: Final = "coffre/identity/"
_CURRENT: Final = "AWSCURRENT"


@dataclass(frozen=True)
class HandedIn:
    """A file that was encrypted where it is, the proof of what is inside, and when it was handed in (UTC)."""

    content: bytes = field(repr=False)
    sealed: Sealed
    at: datetime


@dataclass
class SettingsReader(PlainSource):
    """Lists and reads settings; see `ObjectSource`. A context manager.

    Parameters
    ----------
    own
        Coffre's own settings, by name: each is asked for its value.
    kept
        Entries of files in the backup before: each stays, unless another of its name is handed in.
    handed_in
        New files, by name.
    forgotten
        Names of files that do not stay.
    is_full
        Whether every secret and parameter is read again, even those of an unchanged version.
    patterns
        Patterns of names by folder: one that fits nothing is recorded as missing.
    """

    secrets: SecretsManagerClient
    parameters: SSMClient
    region: str
    stopping: threading.Event
    own: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    kept: Sequence[Entry] = ()
    handed_in: Mapping[str, HandedIn] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()
    is_full: bool = False
    patterns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    requests: Counter[str] = field(default_factory=Counter)
    received_bytes: int = 0
    _found: dict[tuple[str, str], SettingFacts] = field(default_factory=dict)
    # Of the account's 40 calls of GetParameter a second (SSM quotas, 2026-11) most belong to the application.
    _one_parameter: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is to be closed: the clients are the function's."""

    @property
    def url(self) -> str:
        """Where secrets are."""
        return self.secrets.meta.endpoint_url

    def page(
        self,
        bucket: str,
        prefix: str,
        *,
        token: str | None = None,  # noqa: ARG002 - of the contract
        after: str | None = None,
    ) -> ListingPage:
        """Return every setting of a folder, sorted by name."""
        listings = {
            SECRETS: self._list_secrets,
            PARAMETERS: self._list_parameters,
            COFFRE: self._list_own,
            FILES: self._list_files,
        }
        listed = sorted(listings[bucket](), key=lambda found: found.key)
        if not prefix:
            self._miss_unmatched(bucket, [found.key for found in listed])
        chosen = [found for found in listed if found.key.startswith(prefix) and found.key > (after or "")]
        return ListingPage(chosen, None, is_truncated=False)

    def piece(
        self,
        bucket: str,
        listed: Listed,
        offset: int,  # noqa: ARG002 - of the contract
        *,
        etag: str | None = None,  # noqa: ARG002 - of the contract
    ) -> Piece:
        """Return a setting as it is stored: a line about it, and its value.

        Raises
        ------
        ObjectMissingError
        StoreError
            `STORE_DENIED`, `KMS_UNUSABLE`; `HAND_IN_AGAIN`: a file of the backup before that cannot stay.
        StoreTransientError
        """
        readers = {
            SECRETS: self._read_secret,
            PARAMETERS: self._read_parameter,
            COFFRE: self._read_own,
            FILES: self._read_file,
        }
        body, headers = readers[bucket](listed)
        with self._lock:
            self.received_bytes += len(body)
        return Piece(body, len(body), {name: value for name, value in headers.items() if value})

    def is_listed(self, bucket: str, key: str) -> bool:
        """Return whether a setting still exists."""
        return any(found.key == key for found in self.page(bucket, key).objects)

    def denied_hint(self, bucket: str) -> str:
        """Return what to do when none of a folder's settings may be read."""
        action, parameter = {
            SECRETS: ("secretsmanager:GetSecretValue", "SettingsSecrets"),
            PARAMETERS: ("ssm:GetParameter", "SettingsParameters"),
        }.get(bucket, ("cloudformation:DescribeStacks", "nothing: deploy the stack again"))
        return (
            f"The role of backup_storage needs {action} on them, and kms:Decrypt if they have a KMS key of their own. "
            f"In template.yaml: {parameter}, and SettingsKeys (docs/settings.md)."
        )

    # --- listing ---

    def _miss_unmatched(self, folder: str, names: Sequence[str]) -> None:
        for pattern in self.patterns.get(folder, ()):
            if not any(map(key_choice((), (pattern,), ()), names)):
                self.miss(f"{folder}/{pattern} is not in this backup: nothing of this name exists.")

    def _list_secrets(self) -> Iterator[Listed]:
        pages = self._pages("secretsmanager:ListSecrets", self.secrets.get_paginator("list_secrets"), 100)
        for one in (secret for page in pages for secret in page["SecretList"]):
            if one["Name"].startswith(IDENTITIES):
                continue
            current = (
                version for version, stages in one.get("SecretVersionsToStages", {}).items() if _CURRENT in stages
            )
            facts = SettingFacts(
                description=one.get("Description", ""),
                kms_key=one.get("KmsKeyId", ""),
                tags={tag["Key"]: tag["Value"] for tag in one.get("Tags", [])},
            )
            changed = one.get("LastChangedDate") or one.get("CreatedDate")
            yield self._listed(SECRETS, one["Name"], next(current, ""), changed, facts)

    def _list_parameters(self) -> Iterator[Listed]:
        pages = self._pages("ssm:DescribeParameters", self.parameters.get_paginator("describe_parameters"), 50)
        for one in (parameter for page in pages for parameter in page["Parameters"]):
            facts = SettingFacts(
                type=one["Type"],
                description=one.get("Description", ""),
                kms_key=one.get("KeyId", "") if one["Type"] == "SecureString" else "",
                tier=one.get("Tier", ""),
                data_type=one.get("DataType", ""),
            )
            yield self._listed(PARAMETERS, one["Name"], f"{one['Version']}", one.get("LastModifiedDate"), facts)

    def _list_own(self) -> Iterator[Listed]:
        for name, value in self.own.items():
            try:
                etag = f"sha256-{hashlib.sha256(value()).hexdigest()}"  # both are shown by AWS's console anyway
            except CoffreError:  # reading it says why
                etag = "unread"
            yield Listed(name, 0, etag, is_sized=False)

    def _list_files(self) -> Iterator[Listed]:
        for name, file in self.handed_in.items():
            yield Listed(name, 0, _etag_of(file), file.at, is_sized=False)
        for entry in self.kept:
            name, facts = entry.name.removeprefix(f"{FILES}/"), entry.object or ObjectFacts()
            if name not in self.handed_in and name not in self.forgotten:
                yield Listed(name, entry.size, facts.etag, facts.last_modified)

    def _listed(self, folder: str, name: str, version: str, changed: datetime | None, facts: SettingFacts) -> Listed:
        self._found[folder, name] = facts
        changed = changed.astimezone(UTC) if changed else None
        return Listed(name, 0, None if self.is_full else version, changed, is_sized=False)

    def _pages(self, action: str, paginator: Any, size: int) -> Iterator[Any]:
        pages = iter(paginator.paginate(PaginationConfig={"PageSize": size}))
        while True:
            page = self._ask(action, lambda: next(pages, None))
            if page is None:  # the end, for which nothing was asked
                with self._lock:
                    self.requests[action.partition(":")[2]] -= 1
                return
            yield page

    # --- reading ---

    def _read_secret(self, listed: Listed) -> tuple[bytes, dict[str, str]]:
        answer = self._ask("secretsmanager:GetSecretValue", lambda: self.secrets.get_secret_value(SecretId=listed.key))
        text, facts = answer.get("SecretString"), self._facts_of(SECRETS, listed)
        facts = facts.model_copy(update={"type": "binary" if text is None else "text"})
        value = bytes(answer["SecretBinary"]) if text is None else text.encode()
        return wrapped(value, facts), self._headers(listed, answer["VersionId"])

    def _read_parameter(self, listed: Listed) -> tuple[bytes, dict[str, str]]:
        with self._one_parameter:
            answer = self._ask(
                "ssm:GetParameter", lambda: self.parameters.get_parameter(Name=listed.key, WithDecryption=True)
            )["Parameter"]
        facts, version = self._facts_of(PARAMETERS, listed), str(answer["Version"])
        return wrapped(answer["Value"].encode(), facts), self._headers(listed, version)

    def _read_own(self, listed: Listed) -> tuple[bytes, dict[str, str]]:
        value = self.own[listed.key]()
        etag = f"sha256-{hashlib.sha256(value).hexdigest()}"
        return wrapped(value, SettingFacts(type="text")), self._headers(listed, etag)

    def _read_file(self, listed: Listed) -> tuple[bytes, dict[str, str]]:
        file = self.handed_in.get(listed.key)
        if file is None:
            raise StoreError(
                "It was handed in encrypted, and the keys of the target have changed since, or its pack is damaged. "
                "Hand it in again: coffre backup settings --file FILE --name NAME.",
                code="HAND_IN_AGAIN",
            )
        return wrapped(file.content, SettingFacts(sealed=file.sealed)), self._headers(listed, _etag_of(file))

    def _facts_of(self, folder: str, listed: Listed) -> SettingFacts:
        return self._found.get((folder, listed.key), SettingFacts())

    @staticmethod
    def _headers(listed: Listed, etag: str) -> dict[str, str]:
        modified = format_datetime(listed.last_modified) if listed.last_modified else ""
        return {"etag": etag, "last-modified": modified}

    def _ask[T](self, action: str, call: Callable[[], T]) -> T:
        """Return what AWS answers; an error's detail is its code alone, since messages can repeat what was sent."""
        if self.stopping.is_set():
            raise RunStoppedError("The run is stopped.")
        with self._lock:
            self.requests[action.partition(":")[2]] += 1
        try:
            return call()
        except ClientError as error:
            raise settings_error(action, error.response.get("Error", {}).get("Code", "")) from None
        except BotoCoreError as error:
            raise StoreTransientError(
                f"AWS did not answer {action}.",
                detail=type(error).__name__,
                hint="Run the backup again; if that fails too, look at the function's network and its endpoints.",
            ) from None


def _etag_of(file: HandedIn) -> str:
    """Return what identifies a file that was handed in: a digest of encrypted bytes."""
    return f"sealed-{hashlib.sha256(file.content).hexdigest()}"
