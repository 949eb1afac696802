"""What a backup function reads for `coffre doctor` besides a database: AWS's services, the vault, buckets, history."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

from coffre.buckets.open_reader import open_reader
from coffre.model.any_target import AnyTarget, ObjectTarget
from coffre.model.bucket_target import BucketTarget
from coffre.model.errors import CoffreError
from coffre.model.repository_target import RepositoryTarget
from coffre.model.settings_target import SettingsTarget
from coffre.operations.doctor.aws_calls import ask
from coffre.operations.doctor.checkup import Reader
from coffre.operations.doctor.history import read_history
from coffre.operations.doctor.reachable_services import read_reach
from coffre.operations.doctor.settings import read_settings
from coffre.operations.doctor.source_buckets import read_sources
from coffre.operations.doctor.vault_access import trouble, use_vault
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.bucket_facts import Sources, StoreSecret
from coffre.policy.checks.check import Unread
from coffre.policy.checks.history_facts import NewestBackup
from coffre.policy.checks.network import SERVICES
from coffre.policy.checks.repositories import RepositoryFacts
from coffre.policy.checks.settings_facts import SettingsFacts
from coffre.policy.checks.stack_facts import Reach
from coffre.policy.checks.vault_facts import VaultReach, VaultUse
from coffre.runtime.bootstrap import Services
from coffre.runtime.credentials import keys_from
from coffre.runtime.function import utc_now
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.settings_source import open_settings
from coffre.stores.s3_client import make_client

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


def readers_of_every_target(services: Services, target: AnyTarget, *, probe: bool = False) -> tuple[Reader, ...]:
    """Return what is read of any target: how the function reaches services and the vault, and what is remembered.

    Parameters
    ----------
    probe
        Store a few bytes in the vault when writing cannot be tried without.
    """
    return (
        Reader((Reach,), lambda: [_read_reach(services)]),
        Reader((VaultReach, VaultUse), lambda: _use_vault(services, target.name, probe=probe)),
        Reader((NewestBackup,), lambda: read_history(services.catalog, services.vault.store, target, utc_now())),
    )


def readers_of_source(services: Services, target: ObjectTarget) -> tuple[Reader, ...]:
    """Return what is read of a target of buckets, settings or repositories, as a backup reads it."""
    if isinstance(target, SettingsTarget):
        return (Reader((SettingsFacts,), lambda: [_read_settings(services, target)]),)
    if isinstance(target, RepositoryTarget):
        return (Reader((RepositoryFacts,), lambda: [_read_repositories(services, target)]),)
    groups = (StoreSecret, Sources) if target.store.secret else (Sources,)
    return (Reader(groups, lambda: _read_buckets(services, target)),)


def _read_settings(services: Services, target: SettingsTarget) -> SettingsFacts:
    with open_settings(services, target, stopping=threading.Event()) as source:
        return read_settings(target, source)


def _read_repositories(services: Services, target: RepositoryTarget) -> RepositoryFacts:
    from coffre.operations.doctor.repositories import read_repositories  # dulwich, which others should not wait for
    from coffre.runtime.repository_source import open_repositories

    with scratch_directory() as scratch:
        source = open_repositories(services, target, scratch / "repositories", stopping=threading.Event())
        with source:
            return read_repositories(source)


def _read_reach(services: Services) -> Reach:
    addresses = {}
    for service in SERVICES:
        with closing(services.session.create_client(service)) as client:
            addresses[service] = client.meta.endpoint_url
    return read_reach(addresses)


def _use_vault(services: Services, target: str, *, probe: bool) -> tuple[object, ...]:
    bucket = services.settings.vault_bucket
    with closing(make_client(session=services.session)) as client:
        return use_vault(
            services.vault,
            services.catalog.latest_completed(target, damaged_too=True, safety_too=True),
            utc_now(),
            bucket=bucket,
            function_region=os.environ.get("AWS_REGION"),
            bucket_region=lambda: _region_of(client, bucket),
            probe=probe,
        )


def _region_of(client: S3Client, bucket: str) -> str | None:
    found = ask("s3:ListBucket", lambda: client.head_bucket(Bucket=bucket).get("BucketRegion"))
    return None if isinstance(found, Refused) else found


def _read_buckets(services: Services, target: BucketTarget) -> Iterator[object]:
    secret = target.store.secret
    keys = None
    if secret is not None:
        try:
            keys = keys_from(services.secret, secret, services.secret(secret))
        except CoffreError as error:
            yield StoreSecret(secret, trouble(error))
            yield Sources, Unread("The access key of the store cannot be used.")
            return
        yield StoreSecret(secret)
    newest = services.catalog.latest_completed(target.name, damaged_too=True)
    account = services.settings.alert_topic_arn.split(":")[4]
    stopping = threading.Event()
    with (
        open_reader(target, keys, stopping=stopping, session=services.session) as reader,
        closing(make_client(session=services.session, region=target.store.region)) as aws,
    ):
        yield read_sources(
            target,
            reader,
            aws=aws if target.store.endpoint is None and keys is None else None,
            account=account,
            last_objects=newest.objects if newest else None,
        )
