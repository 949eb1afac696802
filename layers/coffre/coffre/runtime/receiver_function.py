"""The function of the receiving account (receiver.yaml): it alone may delete there, and the source cannot call it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import botocore.session
from pydantic import Field, ValidationError
from ulid import ULID

from coffre.alerts.copy_care import copy_inconsistent, copy_rotation_failed
from coffre.alerts.publish import Publisher
from coffre.model.backup import Failure
from coffre.model.document import FrozenModel, describe_validation
from coffre.model.errors import EventError, SettingsError
from coffre.model.locks import LockMode
from coffre.model.retention import Retention
from coffre.model.rotation import RotationReport
from coffre.operations.rotate.rotate_received import ReceivedJob, rotate_received
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.observability import log_failure, make_logger
from coffre.runtime.rotate_function import summary
from coffre.runtime.scratch import scratch_directory
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.locks import VaultLocks
from coffre.vault.vault import Vault

_PREFIX: Final = "COFFRE_"
_NAME: Final = "receiver"


class ReceiverSettings(FrozenModel):
    """The variables of the function: where the copies are, and how long they stay. Ages are days."""

    bucket: str = Field(min_length=1)
    object_lock: str = Field(default="off", pattern="^(off|governance|compliance)$")
    alert_topic_arn: str = Field(min_length=1)
    daily_days: int = Field(default=35, ge=1)
    weekly_days: int = Field(default=90, ge=1)
    monthly_days: int = Field(default=400, ge=1)
    minimum_kept: int = Field(default=2, ge=1)

    @classmethod
    def from_env(cls, environment: Mapping[str, str]) -> Self:
        """Read the settings; raises `SettingsError`, which names every variable that is missing or wrong."""
        names = {name: environment.get(_PREFIX + name.upper()) for name in cls.model_fields}
        try:
            return cls.model_validate({name: value for name, value in names.items() if value})
        except ValidationError as error:
            raise SettingsError(
                "The function's environment is incomplete.",
                detail="; ".join(describe_validation(error)),
                hint="These variables are set by receiver.yaml: deploy the stack again.",
            ) from error

    @property
    def retention(self) -> Retention:
        """The rules for every target."""
        return Retention(
            daily_days=self.daily_days,
            weekly_days=self.weekly_days,
            monthly_days=self.monthly_days,
            minimum_kept=self.minimum_kept,
            minimum_verified=self.minimum_kept,
        )


@dataclass(frozen=True)
class ReceiverFunction:
    """Everything that lives as long as the function's process."""

    settings: ReceiverSettings

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        return cls(ReceiverSettings.from_env(environment))

    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Rotate the bucket; `{"dry_run": true}` only shows what would go."""
        fields = event if isinstance(event, Mapping) else {}
        dry_run = fields.get("dry_run", False)
        if not isinstance(event, Mapping) or not isinstance(dry_run, bool) or fields.keys() - {"dry_run"}:
            raise EventError(
                "The event has wrong fields.",
                detail="Known: dry_run, which is true or false.",
                hint='Send {} to rotate, or {"dry_run": true} to see what would be deleted.',
            )
        logger, session = make_logger(_NAME), botocore.session.get_session()
        topic: Any = session.create_client("sns")
        publisher = Publisher(lambda: topic, self.settings.alert_topic_arn, os.environ.get("AWS_LAMBDA_FUNCTION_NAME"))
        name, request_id = self.settings.bucket, context.aws_request_id
        try:
            report = self._rotate(session, context, dry_run=dry_run)
        except Exception as error:
            log_failure(logger, error)
            publisher.publish(copy_rotation_failed(name, Failure.of(error), request_id=request_id))
            raise
        extra = {"dry_run": dry_run, "deleted": sum(one.action == "delete" for one in report.decisions)}
        logger.info("rotation ended", extra=extra | {"problems": [one.model_dump() for one in report.all_problems]})
        if report.all_problems and not dry_run:
            publisher.publish(copy_inconsistent(name, report.all_problems, request_id=request_id))
        return summary(report)

    def _rotate(self, session: botocore.session.Session, context: LambdaContext, *, dry_run: bool) -> RotationReport:
        settings, now = self.settings, utc_now()
        store = S3Store(settings.bucket, client=make_client(session=session))
        locks = None
        if settings.object_lock != "off":
            locks = VaultLocks(store, LockMode(settings.object_lock), settings.monthly_days)
        with scratch_directory() as scratch:
            job = ReceivedJob(
                id=str(ULID.from_datetime(now)),
                name=settings.bucket,
                vault=Vault(store, locks),
                retention=settings.retention,
                scratch=scratch,
                now=now,
                remaining_seconds=remaining_seconds(context),
            )
            return rotate_received(job, dry_run=dry_run)
