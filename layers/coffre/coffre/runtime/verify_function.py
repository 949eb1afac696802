"""The function `verify`: which level an event means, what it is about, and which alerts follow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from ulid import ULID

from coffre.alerts.alert import Alert
from coffre.alerts.copy_care import copy_not_verified
from coffre.alerts.verification import verification_stopped
from coffre.model.backup import Failure
from coffre.model.configuration import Configuration
from coffre.model.errors import BackupStateError, CoffreError, SecretError, SettingsError
from coffre.model.verification import Level, Share, VerificationReport
from coffre.operations.stored_backup.kept_journal import checked_since
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import CatalogSnapshot, VerifyJob
from coffre.operations.verify.read_back import read_backup, read_target
from coffre.runtime.bootstrap import Services
from coffre.runtime.environment import Settings
from coffre.runtime.events.verify import VerifyEvent
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.invocations import start_each
from coffre.runtime.metering import metered
from coffre.runtime.observability import count_verification
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.verify_alerts import (
    review_of_damage,
    review_of_journals,
    review_of_locks,
)
from coffre.runtime.verify_copies import look_at_copy, report_copy, start_copies
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault

# A month sees everything.
_SHARE: Final = 1 / 30
# An answer can have 6 MB; what is wrong with one backup has up to 10 KB.
_DAMAGED_SHOWN: Final = 100


@dataclass(frozen=True)
class VerifyFunction:
    """Everything that lives as long as the function's process."""

    services: Services

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        return cls(Services("verify", Settings.from_env(environment)))

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Verify what the event names, at its level."""
        request_id = context.aws_request_id

        with self.services.edge.beginning(context, event):
            wanted = VerifyEvent.parse(event)
            configuration = self.services.configuration()
            if wanted.at is not None:
                configuration.destination(wanted.at)
            elif wanted.target is not None and not self._has_backups(wanted):
                configuration.target(wanted.target)

        def stopped(error: Exception) -> Alert:
            failure = Failure.of(error)
            if wanted.at is not None:
                return copy_not_verified(wanted.at, failure, level=wanted.level.value, request_id=request_id)
            if wanted.backup_id is not None and isinstance(error, BackupStateError):
                return self.services.edge.refused(self.services.actor(wanted), "backup.verified", error)
            target = wanted.target or self._target_of(wanted.backup_id)
            return verification_stopped(target, failure, level=wanted.level.value, request_id=request_id)

        ids = {"request_id": request_id, "target": wanted.target, "backup_id": wanted.backup_id}
        with self.services.edge.reporting(stopped, **ids):
            self.services.metering.about(wanted.target)
            if wanted.level is Level.DOCTOR:
                return self._ask_doctor(configuration, wanted)
            if wanted.level is Level.REPORT:
                from coffre.runtime.report import send_report  # here, for no other level waits for it

                return send_report(self.services, configuration, utc_now())
            if wanted.level is Level.FRESH:
                from coffre.runtime.verify_fresh import check_fresh  # as above

                return check_fresh(self.services, configuration, wanted.target, utc_now(), request_id)
            if wanted.at is not None:
                return self._verify_copy(configuration, wanted, context)
            is_of_all = wanted.target is None and wanted.backup_id is None
            if is_of_all:
                start_copies(self.services, configuration, wanted, context.function_name)
            if wanted.level is Level.READ and is_of_all:
                return self._start_each(wanted, context.function_name)
            return self._verify(configuration, wanted, context)

    def _has_backups(self, wanted: VerifyEvent) -> bool:
        """Return whether a target has backups to verify, even if it is not configured any more."""
        return wanted.level not in (Level.FRESH, Level.DOCTOR, Level.REPORT) and bool(
            CatalogSnapshot.read(self.services.catalog).living(wanted.target)
        )

    def _target_of(self, backup_id: str | None) -> str | None:
        """Return what a reading of one backup is about: an alert about no target would speak of each."""
        with contextlib.suppress(CoffreError):
            return self.services.catalog.get_backup(backup_id).target if backup_id is not None else None
        return None

    # --- doctor ---

    def _ask_doctor(self, configuration: Configuration, wanted: VerifyEvent) -> dict[str, Any]:
        """Let the functions that back up look at their targets; each reports what it finds."""
        settings = self.services.settings
        started: list[str] = []
        for function, targets in (
            (settings.backup_database_function, configuration.databases),
            (settings.backup_storage_function, configuration.object_targets),
        ):
            names = [one.name for one in targets if wanted.target in (None, one.name)]
            events = [(name, {"doctor": True, "target": name, "report": True}) for name in names]
            if function is None and names:
                raise SettingsError(
                    "The function verify does not know which functions back up.",
                    hint="template.yaml sets COFFRE_BACKUP_DATABASE_FUNCTION and its like: deploy the stack again.",
                )
            started += start_each(self.services.functions, function or "", events, "doctor's look")
        return {"level": wanted.level.value, "started": started}

    # --- inventory and read ---

    def _start_each(self, wanted: VerifyEvent, function: str) -> dict[str, Any]:
        """Invoke this function once for each target that has backups: each has the whole time of a function."""
        targets = sorted({backup.target for backup in CatalogSnapshot.read(self.services.catalog).required()})
        sent = wanted.sent_by(self.services.actor(wanted))
        events = [(target, sent.for_target(target)) for target in targets]
        started = start_each(self.services.functions, function, events, "reading")
        return {"level": wanted.level.value, "started": started}

    def _verify(self, configuration: Configuration, wanted: VerifyEvent, context: LambdaContext) -> dict[str, Any]:
        began = utc_now()
        decoder = self._decoder(configuration, wanted) if wanted.level is Level.READ else FrameDecoder()
        with scratch_directory() as scratch:
            job = self._job(self.services.vault, decoder, scratch, context)
            retentions = {target.name: target.retention for target in configuration.targets}
            since = checked_since(configuration, self.services.catalog.latest, began)
            job = replace(job, retentions=retentions, journal_since=since)
            report = _timed(_run(job, wanted, _share_of(wanted, began)), began)
        self._report(report, wanted, context.aws_request_id)
        return summary(report, {name: self._healthy(name) for name in sorted({one.target for one in report.damaged})})

    def _verify_copy(self, configuration: Configuration, wanted: VerifyEvent, context: LambdaContext) -> dict[str, Any]:
        """Look at one copy of the vault. No key is needed: what the packs hold was proven in the vault."""
        from coffre.runtime.copies import open_copy  # here, for the vault's own is not opened so

        began = utc_now()
        destination = configuration.destination(wanted.at or "")
        with scratch_directory() as scratch:
            job = self._job(open_copy(self.services, destination), FrameDecoder(), scratch, context)
            since = checked_since(configuration, self.services.catalog.latest, began, destination.name)
            job = replace(job, journal_since=since)
            report = _timed(look_at_copy(job, destination, wanted, _share_of(wanted, began)), began)
        self._log(report, context.aws_request_id)
        report_copy(self.services, destination, report, wanted, context.aws_request_id)
        return summary(report, report.healthy)

    def _job(self, vault: Vault, decoder: FrameDecoder, scratch: Path, context: LambdaContext) -> VerifyJob:
        return VerifyJob(
            id=str(ULID.from_datetime(utc_now())),
            catalog=self.services.catalog,
            vault=vault,
            decoder=decoder,
            scratch=scratch,
            now=utc_now,
            remaining_seconds=remaining_seconds(context),
        )

    def _decoder(self, configuration: Configuration, wanted: VerifyEvent) -> FrameDecoder:
        target = wanted.target or self.services.catalog.get_backup(wanted.backup_id or "").target
        try:
            return self.services.decoder(target)
        except SecretError as error:
            # A deployment that encrypts nothing needs no key. An older backup that is encrypted is then reported as
            # unreadable.
            if configuration.encryption == "none" and error.code == "SECRET_MISSING":
                return FrameDecoder()
            raise

    def _healthy(self, target: str) -> str | None:
        backup = self.services.catalog.latest_completed(target)
        return backup.id if backup else None

    def _log(self, report: VerificationReport, request_id: str) -> None:
        self.services.edge.logger.info(
            "verification ended",
            extra={
                "request_id": request_id,
                "verification_id": report.id,
                "level": report.level.value,
                "target": report.target,
                "copy": report.copy_name,
                "status": report.status,
                "packs": report.packs.objects,
                "checksums": report.checksums,
                "read_bytes": report.frames.size_bytes,
                "damaged": [{"backup_id": one.backup_id, "code": one.damages[0].code} for one in report.damaged],
                "unfinished": report.unfinished,
                "duration_ms": report.duration_ms,
            },
        )

    def _report(self, report: VerificationReport, wanted: VerifyEvent, request_id: str) -> None:
        self._log(report, request_id)
        count_verification(self.services.name, report)
        looked_at = tuple(self._looked_at(report, wanted))
        review = review_of_damage(report, self.services.catalog, looked_at, request_id)
        review = review.plus(review_of_journals(report, wanted, looked_at, request_id))
        self.services.edge.alerting.settle(review.plus(review_of_locks(report, wanted, request_id)))

    def _looked_at(self, report: VerificationReport, wanted: VerifyEvent) -> Iterable[str]:
        """Return the targets whose state this verification decides."""
        if wanted.backup_id is not None:
            return {one.target for one in report.damaged} | {one.target for one in report.examined}
        if wanted.target is not None:
            return {wanted.target}
        return {backup.target for backup in CatalogSnapshot.read(self.services.catalog).living()}


def _share_of(wanted: VerifyEvent, began: datetime) -> Share:
    return Share.of_day(wanted.share or _SHARE, began.date())


def _timed(report: VerificationReport, began: datetime) -> VerificationReport:
    return report.model_copy(update={"duration_ms": int((utc_now() - began).total_seconds() * 1000)})


def _run(job: VerifyJob, wanted: VerifyEvent, share: Share) -> VerificationReport:
    if wanted.level is Level.INVENTORY:
        return inventory(job, share, target=wanted.target, backup_id=wanted.backup_id)
    if wanted.backup_id is not None:
        return read_backup(job, wanted.backup_id)
    return read_target(job, wanted.target or "", share)


def summary(report: VerificationReport, healthy: dict[str, str | None]) -> dict[str, Any]:
    """Return what an invocation answers: small, and without secrets."""
    shown = report.model_copy(update={"damaged": report.damaged[:_DAMAGED_SHOWN], "healthy": healthy})
    return shown.model_dump(mode="json")
