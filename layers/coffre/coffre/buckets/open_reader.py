"""Putting together what reads the buckets of one target."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.httpsession import where
from botocore.session import get_session

from coffre.buckets.client import make_bucket_client, region_of
from coffre.buckets.reader import BucketReader
from coffre.concurrency.renewal import Renewal
from coffre.model.bucket_target import BucketTarget, ObjectStore
from coffre.model.errors import StoreError
from coffre.stores.s3_client import S3Credentials
from coffre.stores.s3_wire import Endpoint, S3Wire

if TYPE_CHECKING:
    from botocore.session import Session


def open_reader(
    target: BucketTarget,
    credentials: S3Credentials | Renewal[S3Credentials] | None,
    *,
    stopping: threading.Event,
    session: Session | None = None,
) -> BucketReader:
    """Return what reads a target's buckets, a context manager.

    Parameters
    ----------
    credentials
        An access key, or one that is read again when the store refuses it. None: the environment's
        own, the function's role.
    stopping
        Set it to make every request end soon.
    """
    session = session or get_session()
    keys = Renewal(credentials, lambda _: None) if isinstance(credentials, S3Credentials) else credentials
    store = target.store
    url, region = _address(store, keys.current() if keys else None, session)
    is_aws = urlsplit(url).hostname is not None and ".amazonaws.com" in f"{urlsplit(url).hostname}"
    by_path = store.addressing == "path" or (store.addressing == "auto" and not is_aws)
    by_path = by_path or (store.addressing == "auto" and any("." in bucket.name for bucket in target.buckets))
    wire = S3Wire(
        Endpoint(url, region, by_path),
        keys.current if keys else _of_session(session, url),
        stopping,
        renewal=keys,
        ca_bundle=os.environ.get("AWS_CA_BUNDLE") or where(),
    )
    return BucketReader(wire, has_acls=is_aws)


def _address(store: ObjectStore, credentials: S3Credentials | None, session: Session) -> tuple[str, str]:
    """Return where requests go, and the region that they are signed for."""
    region = region_of(store)
    if store.endpoint is not None and region is not None:
        return store.endpoint, region
    # botocore knows the addresses of AWS's regions, and the variables that lead to an emulator.
    with closing(make_bucket_client(store, credentials, session=session)) as client:
        return client.meta.endpoint_url, client.meta.region_name


def _of_session(session: Session, url: str) -> Callable[[], S3Credentials]:
    """Return what gives the environment's credentials, fresh ones when they expire."""
    found = session.get_credentials()
    if found is None:
        raise StoreError(
            f"No credentials for {urlsplit(url).netloc} were found.",
            code="STORE_CREDENTIALS",
            hint="Give the target's store a secret with an access key; in AWS the function's role has its own.",
        )

    def current() -> S3Credentials:
        frozen = found.get_frozen_credentials()
        return S3Credentials(frozen.access_key or "", frozen.secret_key or "", frozen.token)

    return current
