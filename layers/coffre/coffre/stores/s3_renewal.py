"""An access key that botocore signs with, read again when the store refuses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import botocore.session
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials

from coffre.concurrency.renewal import Renewal
from coffre.stores.s3_client import S3Credentials
from coffre.stores.s3_errors import KEY_REFUSED

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_SIGNED_WITH: Final = "coffre_signed_with"


class _Current(Credentials):
    """What botocore asks before it signs."""

    def __init__(self, renewal: Renewal[S3Credentials]) -> None:
        key = renewal.current()
        super().__init__(key.access_key_id, key.secret_access_key, key.session_token)
        self._renewal = renewal

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        key = self._renewal.current()
        return ReadOnlyCredentials(key.access_key_id, key.secret_access_key, key.session_token)


class _Provider(CredentialProvider):
    METHOD = "coffre-secret"

    def __init__(self, renewal: Renewal[S3Credentials]) -> None:
        super().__init__()
        self._renewal = renewal

    def load(self) -> Credentials:
        return _Current(self._renewal)


def session_with(renewal: Renewal[S3Credentials]) -> botocore.session.Session:
    """Return a session whose clients sign with the key in use."""
    session = botocore.session.get_session()
    session.register_component("credential_provider", CredentialResolver([_Provider(renewal)]))
    return session


def send_again_with_newer_key(client: S3Client, renewal: Renewal[S3Credentials]) -> None:
    """Make a client of such a session send a request again when its key was refused and there is a newer one."""

    def remember(request: Any, **_: Any) -> None:
        request.context[_SIGNED_WITH] = renewal.current()

    def look(response: Any, request_dict: dict[str, Any], **_: Any) -> float | None:
        """Return after how many seconds the request is sent again; None leaves that to botocore."""
        code = response[1].get("Error", {}).get("Code") if response else None
        if code not in KEY_REFUSED:
            return None
        return 0.0 if renewal.is_worth_another(request_dict["context"][_SIGNED_WITH]) else None

    client.meta.events.register_first("before-sign.s3", remember)
    client.meta.events.register_first("needs-retry.s3", look)  # type: ignore[arg-type]  # it is asked for its answer
