"""How to get into the store with a user's buckets: AWS's own S3 by the function's role, any other by a secret."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from pydantic import ConfigDict, Field, ValidationError

from coffre.concurrency.renewal import Renewal
from coffre.model.bucket_target import ObjectStore
from coffre.model.document import describe_validation, parse_json
from coffre.model.errors import SecretError
from coffre.stores.s3_client import S3Credentials, make_client
from coffre.stores.s3_renewal import send_again_with_newer_key, session_with

if TYPE_CHECKING:
    import botocore.session
    from mypy_boto3_s3.client import S3Client

# Stores that are signed for with one region whatever the bucket: MinIO by default, and those that do not look at it.
ANY_REGION: Final = "us-east-1"
_REGION_IN_HOST: Final = re.compile(r"^https?://s3\.([a-z0-9-]+)\.(?:backblazeb2|wasabisys)\.com(?::\d+)?/?$")
_CLOUDFLARE: Final = re.compile(r"^https?://[^/]+\.r2\.cloudflarestorage\.com(?::\d+)?/?$")


class StoreSecret(ObjectStore):
    """What a secret holds: an access key, and of a destination that nothing else names the address too."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    access_key_id: str = Field(min_length=1)
    secret_access_key: str = Field(min_length=1, repr=False)
    session_token: str | None = Field(default=None, repr=False)

    @property
    def credentials(self) -> S3Credentials:
        """The key alone."""
        return S3Credentials(self.access_key_id, self.secret_access_key, self.session_token)

    @property
    def store(self) -> ObjectStore:
        """The address alone."""
        return ObjectStore(endpoint=self.endpoint, region=self.region, addressing=self.addressing)


def parse_store_secret(text: str, *, where: str) -> StoreSecret:
    """Read a secret's value.

    Parameters
    ----------
    text
        JSON with `access_key_id`, `secret_access_key` and perhaps `session_token`; for a store that the configuration
        does not describe also `endpoint`, `region` and `addressing`. It is never repeated in an error.
    where
        The secret's name, for the message.

    Raises
    ------
    SecretError
        `SECRET_SHAPE`, naming what is missing.
    """
    try:
        return StoreSecret.model_validate(parse_json(text))
    except json.JSONDecodeError as error:
        raise _shape(where, "it is not a JSON object") from error
    except ValidationError as error:
        raise _shape(where, "; ".join(describe_validation(error))) from error


def parse_credentials(text: str, *, where: str) -> S3Credentials:
    """Read the access key in a secret's value; raises what `parse_store_secret` raises."""
    return parse_store_secret(text, where=where).credentials


def make_bucket_client(
    store: ObjectStore,
    credentials: S3Credentials | Renewal[S3Credentials] | None,
    *,
    session: botocore.session.Session | None = None,
    connections: int = 16,
) -> S3Client:
    """Return a client for the buckets of one store. It is thread-safe; who makes it closes it.

    Parameters
    ----------
    credentials
        An access key, or one that is read again when the store refuses it. None: the environment's own, the
        function's role.
    connections
        As many as threads use it.
    """
    renewal = credentials if isinstance(credentials, Renewal) else None
    client = make_client(
        session=session_with(renewal) if renewal else session,
        region=region_of(store),
        endpoint_url=store.endpoint,
        credentials=None if isinstance(credentials, Renewal) else credentials,
        addressing=store.addressing,
        max_connections=connections,
    )
    if renewal:
        send_again_with_newer_key(client, renewal)
    return client


def region_of(store: ObjectStore) -> str | None:
    """Return the region that requests are signed for; None: the environment's."""
    if store.region is not None or store.endpoint is None:
        return store.region
    if found := _REGION_IN_HOST.match(store.endpoint):
        return found[1]
    return "auto" if _CLOUDFLARE.match(store.endpoint) else ANY_REGION


def _shape(where: str, why: str) -> SecretError:
    return SecretError(
        f"The secret {where} is no access key of an object store.",
        code="SECRET_SHAPE",
        detail=why,
        hint='Store JSON: {"access_key_id": "...", "secret_access_key": "..."}.',
    )
