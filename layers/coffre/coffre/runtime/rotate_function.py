"""The function `rotate`: which targets an event means, what the answer holds, and which alerts follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Self

from ulid import ULID

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.copy_care import copy_rotation_failed, is_copy
from coffre.alerts.runs import rotation_failed, vault_inconsistent
from coffre.model.backup import Failure
from coffre.model.configuration import Configuration
from coffre.model.errors import CatalogError
from coffre.model.rotation import Action, Problem, RotationReport
from coffre.model.vault_use import VaultUse
from coffre.operations.monitoring.alerting import Review
from coffre.operations.monitoring.health_checks import review_vault
from coffre.operations.rotate.rotate import RotateJob, rotate
from coffre.operations.rotate.rotate_copy import rotate_copy
from coffre.runtime.audit import keep_audit
from coffre.runtime.backup_alerts import report_died
from coffre.runtime.bootstrap import Services
from coffre.runtime.environment import Settings
from coffre.runtime.events.rotate import RotateEvent, parse_rotate
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.holds import resume_holds
from coffre.runtime.metering import metered
from coffre.runtime.observability import count_rotation, log_failure
from coffre.runtime.rotate_copies import review_of_copy, start_copies
from coffre.runtime.scratch import scratch_directory

# An answer can have 6 MB; a decision has about 0.4 KB.
_DECISIONS_SHOWN: Final = 5_000


@dataclass(frozen=True)
class RotateFunction:
    """Everything that lives as long as the function's process."""

    services: Services

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        return cls(Services("rotate", Settings.from_env(environment)))

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Rotate the event's target, or every one; or decide about one backup or run, or the configuration."""
        request_id = context.aws_request_id

        with self.services.edge.beginning(context, event):
            wanted = parse_rotate(event)
        # What answers the other events is imported here: no rotation waits for it.
        if not isinstance(wanted, RotateEvent):
            from coffre.runtime.rotate_answers import answer_other

            return answer_other(self.services, wanted, request_id)
        with self.services.edge.beginning(context, event):
            if wanted.is_of_one:
                from coffre.runtime.rotate_answers import answer_one

                return answer_one(self.services, wanted, context)
            configuration = self.services.configuration()
            if wanted.target is not None:
                configuration.target(wanted.target)
            if wanted.at is not None:
                configuration.destination(wanted.at)

        def failed(error: Exception) -> Alert:
            if wanted.at is not None:
                return copy_rotation_failed(wanted.at, Failure.of(error), request_id=request_id)
            return rotation_failed(wanted.target, Failure.of(error), request_id=request_id)

        self.services.metering.about(wanted.target)
        with self.services.edge.reporting(failed, request_id=request_id, target=wanted.target):
            report = self._rotate(configuration, wanted, context)
            if wanted.at is None and wanted.target is None and not wanted.dry_run:
                start_copies(self.services, configuration, wanted, context.function_name)
        self._report(configuration, report, wanted, request_id)
        return summary(report)

    def _rotate(self, configuration: Configuration, wanted: RotateEvent, context: LambdaContext) -> RotationReport:
        destination = configuration.destination(wanted.at) if wanted.at is not None else None
        vault = self.services.vault
        if destination is not None:
            from coffre.runtime.copies import open_copy  # here, for the vault's own rotation does not wait for it

            vault = open_copy(self.services, destination)
        with scratch_directory() as scratch:
            job = RotateJob(
                id=str(ULID.from_datetime(utc_now())),
                catalog=self.services.catalog,
                vault=vault,
                configuration=configuration,
                scratch=scratch,
                now=utc_now,
                remaining_seconds=remaining_seconds(context),
                report_died=partial(report_died, self.services.edge, self.services.catalog),
            )
            if destination is not None:
                return rotate_copy(job, destination, self.services.vault, only=wanted.target, dry_run=wanted.dry_run)
            if wanted.target is None and not wanted.dry_run:
                from coffre.runtime.configuring import keep_configuration  # as above, for a copy's

                resume_holds(self.services, context)
                keep_configuration(self.services)
            return rotate(job, only=wanted.target, dry_run=wanted.dry_run, always_sweep=wanted.after is None)

    def _report(
        self, configuration: Configuration, report: RotationReport, wanted: RotateEvent, request_id: str
    ) -> None:
        swept = report.sweep
        self.services.edge.logger.info(
            "rotation ended",
            extra={
                "rotation_id": report.id,
                "request_id": request_id,
                "target": wanted.target,
                "copy": wanted.at,
                "dry_run": report.dry_run,
                "skipped": report.skipped,
                "deleted": sum(decision.action is Action.DELETE for decision in report.decisions),
                "held_back": sum(decision.held_back for decision in report.decisions),
                "removed_bytes": swept.packs_removed.size_bytes if swept else 0,
                "foreign_objects": swept.foreign.objects if swept else 0,
                "problems": [problem.model_dump() for problem in report.all_problems],
            },
        )
        if report.dry_run or report.skipped is not None:
            return
        if wanted.at is not None:
            found = review_of_copy(wanted.at, report, wanted, request_id)
            self.services.edge.review(lambda: found, request_id=request_id)
            return
        keep_audit(self.services)
        if swept is not None:
            self._note_use(VaultUse.of(swept, utc_now()))
        if wanted.target is None:
            count_rotation(self.services.name, report)
            self.services.edge.review(lambda: self._review(configuration, report, request_id), request_id=request_id)
            return
        self.services.edge.recovered(wanted.target, AlertKind.ROTATION_FAILED, request_id=request_id)
        # A rotation after a backup sees a part of what the daily one will see and report.
        for alert in _inconsistent(configuration, report, request_id) if wanted.after is None else ():
            self.services.edge.publish(alert, request_id=request_id)

    def _note_use(self, use: VaultUse) -> None:
        try:
            self.services.catalog.latest.note_vault(use)
        except CatalogError as error:  # the rotation is done; the next one measures again
            log_failure(self.services.edge.logger, error)

    def _review(self, configuration: Configuration, report: RotationReport, request_id: str) -> Review:
        """Return what a rotation of every target, which looked at the whole vault, found."""
        kinds = (AlertKind.ROTATION_FAILED, AlertKind.VAULT_INCONSISTENT)
        reported = {one.target for one in self.services.catalog.incidents.open() if one.kind in kinds}
        # Backups of a target that was removed are looked at, too; a copy's are its own rotation's.
        targets = {EVERY_TARGET, *(name for name in reported if not is_copy(name))}
        alerts = _inconsistent(configuration, report, request_id)
        found = Review(alerts, frozenset((kind, target) for kind in kinds for target in targets))
        return found.plus(review_vault(report.sweep, configuration)) if report.sweep else found


def _inconsistent(configuration: Configuration, report: RotationReport, request_id: str) -> tuple[Alert, ...]:
    """Return an alert for each target, so that each is over by itself, and one for what is of none."""
    kinds = {target.name: target.kind for target in configuration.targets}
    by_target: dict[str, list[Problem]] = {}
    for problem in report.all_problems:
        by_target.setdefault(problem.target or EVERY_TARGET, []).append(problem)
    return tuple(
        vault_inconsistent(found, request_id=request_id, kinds=kinds) for _, found in sorted(by_target.items())
    )


def summary(report: RotationReport) -> dict[str, Any]:
    """Return what an invocation answers: deletions first, and as many decisions as fit."""
    ordered = sorted(report.decisions, key=lambda decision: decision.action is Action.KEEP)
    left_out = max(0, len(ordered) - _DECISIONS_SHOWN)
    shown = report.model_copy(update={"decisions": tuple(ordered[:_DECISIONS_SHOWN]), "decisions_left_out": left_out})
    return shown.model_dump(mode="json")
