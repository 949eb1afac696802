"""Addresses of exported files: signed for an hour at most, by a role that reads nothing else, and true about their end.

An address ends with the credentials that have signed it, whatever it says (github.com/boto/botocore/issues/2604), and
those of a function say nothing about their own end. Therefore each address gets credentials of its own.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from coffre.model.errors import TransientError
from coffre_console.problems import ProblemError

if TYPE_CHECKING:
    import botocore.session

LONGEST: Final = timedelta(hours=1)
"""The bucket's policy refuses older signatures."""
KEPT: Final = timedelta(days=1)
"""How long the bucket's lifecycle keeps a file at least: it removes one at a midnight after that."""
_SPARE: Final = timedelta(seconds=60)
_GONE: Final = frozenset({"404", "403", "NoSuchKey", "AccessDenied"})
# Without `s3v4`, botocore signs addresses by an older method in some regions, which has no age.
_CONFIG: Final = Config(
    signature_version="s3v4", connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2}
)


class SigningError(TransientError):
    """The credentials for an address cannot be had, or the bucket does not answer."""

    default_code = "DOWNLOAD_UNAVAILABLE"


@dataclass(frozen=True)
class Download:
    """An address, until when it works, and the size of the file."""

    url: str
    expires_at: datetime
    size_bytes: int


@dataclass(frozen=True)
class Downloads:
    """Signs addresses of the files in the bucket of exports, with the credentials of `role`."""

    session: botocore.session.Session
    role: str
    bucket: str

    def sign(self, key: str, name: str, now: datetime) -> Download:
        """Return the address of a file, which a browser saves under this name.

        Raises
        ------
        ProblemError
            409 `EXPORT_GONE`: the file has been removed.
        SigningError
            AWS does not answer.
        """
        try:
            given = self._credentials()
            client: Any = self.session.create_client(
                "s3",
                aws_access_key_id=given["AccessKeyId"],
                aws_secret_access_key=given["SecretAccessKey"],
                aws_session_token=given["SessionToken"],
                config=_CONFIG,
            )
            with closing(client):
                found = client.head_object(Bucket=self.bucket, Key=key)
                ends_in = works_for(now, credentials_end=given["Expiration"], written_at=found["LastModified"])
                asked = {"Bucket": self.bucket, "Key": key, "ResponseContentDisposition": content_disposition(name)}
                url = client.generate_presigned_url("get_object", asked, int(ends_in.total_seconds()))
        except (ClientError, BotoCoreError) as error:
            raise _refused(error) from error
        return Download(url, now + timedelta(seconds=int(ends_in.total_seconds())), int(found["ContentLength"]))

    def _credentials(self) -> Any:
        sts: Any = self.session.create_client("sts", config=_CONFIG.merge(Config(signature_version=None)))
        with closing(sts):
            asked = {"RoleArn": self.role, "RoleSessionName": "coffre-console-download"}
            return sts.assume_role(**asked, DurationSeconds=int(LONGEST.total_seconds()))["Credentials"]


def works_for(now: datetime, *, credentials_end: datetime, written_at: datetime) -> timedelta:
    """Return for how long an address works: until its hour, its credentials or the file end.

    Raises
    ------
    ProblemError
        409 `EXPORT_GONE`: the file may be removed within a minute.
    SigningError
        The credentials end within a minute.
    """
    if written_at + KEPT - now < _SPARE:
        raise _gone()
    if credentials_end - now < 2 * _SPARE:
        raise SigningError("The credentials for the address end too soon.", hint="Repeat it in a minute.")
    return min(LONGEST, credentials_end - now - _SPARE, written_at + KEPT - now)


def content_disposition(name: str) -> str:
    """Return the header that names a file, for names of any script (RFC 6266, RFC 8187)."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='!#$&+-.^_`|~')}"


def _refused(error: ClientError | BotoCoreError) -> Exception:
    code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
    is_of_file = isinstance(error, ClientError) and error.operation_name == "HeadObject"
    if is_of_file and code in _GONE:
        return _gone()
    return SigningError("The address of the file could not be signed.", detail=code, hint="Repeat it in a minute.")


def _gone() -> ProblemError:
    return ProblemError(
        409,
        "EXPORT_GONE",
        "The file of this export is no longer there: it is kept for a day.",
        "Export the backup again: POST the same address.",
    )
