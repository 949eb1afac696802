"""The only place where things are put together. Clients are made at the first invocation, never at import."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import botocore.session
from botocore.config import Config

from coffre.alerts.publish import Publisher
from coffre.buckets.writer import BucketWriter
from coffre.catalog.catalog import Catalog
from coffre.operations.drill.scratch_bucket import ScratchPlace
from coffre.operations.monitoring.alerting import Alerting
from coffre.runtime.announce import Announcer
from coffre.runtime.backup_database_function import BackupDatabaseFunction
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.runtime.drill_function import OBJECT_STREAMS, DrillFunction
from coffre.runtime.function import Edge, utc_now
from coffre.runtime.notify_function import NotifyFunction
from coffre.runtime.observability import log_failure, make_logger
from coffre.runtime.restore_function import RestoreFunction
from coffre.runtime.rotate_function import RotateFunction
from coffre.runtime.settings import NotifySettings, RestoreSettings, Settings
from coffre.runtime.verify_function import VerifyFunction
from coffre.stores.s3 import S3Store, make_client
from coffre.vault.vault import Vault


def make_backup_database_function(environment: Mapping[str, str]) -> BackupDatabaseFunction:
    """Put the function together from its environment."""
    settings = Settings.from_env(environment)
    catalog = Catalog(settings.catalog_table)
    return BackupDatabaseFunction(
        settings=settings,
        edge=_edge(settings, "backup_database", catalog),
        vault=_vault(settings),
        catalog=catalog,
        ssm=_client("ssm"),
        secrets=_client("secretsmanager"),
        functions=_client("lambda"),
        announcer=Announcer(_client("events"), settings.catalog_table),
    )


def make_backup_storage_function(environment: Mapping[str, str]) -> BackupStorageFunction:
    """Put the function together from its environment."""
    settings = Settings.from_env(environment)
    catalog = Catalog(settings.catalog_table)
    return BackupStorageFunction(
        settings=settings,
        edge=_edge(settings, "backup_storage", catalog),
        vault=_vault(settings),
        catalog=catalog,
        ssm=_client("ssm"),
        secrets=_client("secretsmanager"),
        functions=_client("lambda"),
        announcer=Announcer(_client("events"), settings.catalog_table),
        session=_session(),
    )


def make_restore_function(environment: Mapping[str, str]) -> RestoreFunction:
    """Put the function together from its environment."""
    settings = RestoreSettings.from_env(environment)
    catalog = Catalog(settings.catalog_table)
    return RestoreFunction(
        settings=settings,
        edge=_edge(settings, "restore", catalog),
        vault=_vault(settings),
        catalog=catalog,
        ssm=_client("ssm"),
        secrets=_client("secretsmanager"),
        functions=_client("lambda"),
    )


def make_rotate_function(environment: Mapping[str, str]) -> RotateFunction:
    """Put the function together from its environment."""
    settings = Settings.from_env(environment)
    catalog = Catalog(settings.catalog_table)
    return RotateFunction(
        settings=settings,
        edge=_edge(settings, "rotate", catalog),
        vault=_vault(settings),
        catalog=catalog,
        ssm=_client("ssm"),
    )


def make_drill_function(environment: Mapping[str, str]) -> DrillFunction:
    """Put the function together from its environment."""
    settings = RestoreSettings.from_env(environment)
    catalog = Catalog(settings.catalog_table)
    return DrillFunction(
        settings=settings,
        edge=_edge(settings, "drill", catalog),
        vault=_vault(settings),
        catalog=catalog,
        ssm=_client("ssm"),
        secrets=_client("secretsmanager"),
        functions=_client("lambda"),
        place=_scratch_place(settings),
    )


def make_verify_function(environment: Mapping[str, str]) -> VerifyFunction:
    """Put the function together from its environment."""
    settings = RestoreSettings.from_env(environment)
    catalog = Catalog(settings.catalog_table)
    return VerifyFunction(
        settings=settings,
        edge=_edge(settings, "verify", catalog),
        vault=_vault(settings),
        catalog=catalog,
        ssm=_client("ssm"),
        secrets=_client("secretsmanager"),
        functions=_client("lambda"),
    )


def make_notify_function(environment: Mapping[str, str]) -> NotifyFunction:
    """Put the function together from its environment."""
    return NotifyFunction(
        settings=NotifySettings.from_env(environment),
        logger=make_logger("notify"),
        secrets=_client("secretsmanager"),
        functions=_client("lambda"),
        region=environment.get("AWS_REGION"),
        pause=time.sleep,
    )


def _edge(settings: Settings, service: str, catalog: Catalog) -> Edge:
    logger = make_logger(service)
    publisher = Publisher(_client("sns"), settings.alert_topic_arn, os.environ.get("AWS_LAMBDA_FUNCTION_NAME"))
    return Edge(logger, Alerting(catalog, publisher, utc_now, partial(log_failure, logger)))


def _vault(settings: Settings) -> Vault:
    store = S3Store(
        settings.vault_bucket,
        prefix=settings.vault_prefix,
        client=make_client(session=_session()),
        checksum=settings.vault_checksum,
    )
    return Vault(store)


def _scratch_place(settings: Settings) -> ScratchPlace:
    # Each large object has connections of its own for parts.
    client = make_client(session=_session(), max_connections=4 * OBJECT_STREAMS)
    folder = settings.vault_prefix.removesuffix("/")
    bucket = BucketWriter(client, settings.vault_bucket, is_aws=settings.vault_checksum == "sha256")
    return ScratchPlace(bucket, f"{folder}/" if folder else "")


def _client(service: str) -> Any:
    # botocore alone: importing boto3 costs a cold start 0.2 s for resources and transfers that nothing here uses.
    config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 4})
    return _session().create_client(service, config=config)


@cache
def _session() -> botocore.session.Session:
    # One for all clients: each session reads the descriptions of endpoints and services again.
    return botocore.session.get_session()


def _once[F](make: Callable[[Mapping[str, str]], F]) -> Callable[[], F]:
    """Return what gives the function of this process: put together when it is first asked for."""
    return cache(lambda: make(os.environ))


backup_database_function = _once(make_backup_database_function)
backup_storage_function = _once(make_backup_storage_function)
restore_function = _once(make_restore_function)
rotate_function = _once(make_rotate_function)
drill_function = _once(make_drill_function)
verify_function = _once(make_verify_function)
notify_function = _once(make_notify_function)
