"""The function `restore`, for exports: a backup becomes a file that can be downloaded for a day."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ulid import ULID

from coffre.alerts.alert import Alert
from coffre.alerts.runs import restore_failed
from coffre.model.audit import Actor
from coffre.model.backup import Failure, Restore
from coffre.model.errors import BackupStateError, EventError, RunStoppedError, SettingsError
from coffre.model.export import destination_of, how_to_open, key_of
from coffre.model.restore_report import RestoreReport
from coffre.model.words import size
from coffre.operations.export.file import ExportFile
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre.policy.recency import refuse_distant_id
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.restore import ExportEvent
from coffre.runtime.function import LambdaContext, utc_now
from coffre.runtime.reading import OpenBackup, Reading
from coffre.runtime.restore_runs import new_record, run_of
from coffre.stores.s3_client import make_client
from coffre.stores.s3_upload import streamed

_ACTION = "backup.exported"


@dataclass(frozen=True)
class Exports:
    """What exports need of the function's process."""

    services: Services

    def handle(self, wanted: ExportEvent, context: LambdaContext) -> dict[str, Any]:
        """Export, and answer with the record's id and status. The record is that of a restore into a file."""
        actor, edge = self.services.actor(wanted), self.services.edge
        export_id = wanted.restore_id or str(ULID.from_datetime(utc_now()))
        ids = {"restore_id": export_id, "backup_id": wanted.backup_id, "request_id": context.aws_request_id}

        def failed(error: Exception) -> Alert:
            if isinstance(error, EventError | BackupStateError):
                return edge.refused(actor, _ACTION, error)
            return restore_failed(None, Failure.of(error), destination="a file to download", **ids)

        with edge.reporting(failed, **ids):
            if wanted.restore_id is None:  # however often the event is delivered, it is one export
                request_id = context.aws_request_id
                export_id = self.services.catalog.deliveries.run_of(request_id, export_id, utc_now())
                ids = {**ids, "restore_id": export_id}
            else:
                refuse_distant_id("restore_id", export_id, utc_now())
            reading = Reading(self.services, wanted.source)
            backup = reading.backup(wanted.backup_id)
            refuse_unrestorable(backup)
            if problem := wanted.export.problem_with(backup.kind):
                raise EventError(problem, hint="Nothing was exported.")
            recipients = wanted.export.recipients or self.services.configuration().recipients_of(backup.target)
            if not recipients:
                raise EventError(
                    f"{backup.target} has no recipients: no one could open the file.",
                    hint="Name the public age key of who shall open it, in export.recipients. Nothing was exported.",
                )
            self.services.metering.about(backup.target, export_id)
            export = self._export(reading.open(backup), wanted, export_id, recipients, actor, context)
        edge.logger.info("export ended", extra=ids)
        # None: the same event was delivered before.
        export = export or self.services.catalog.get_restore(export_id)
        return {"id": export_id, "backup_id": backup.id, "status": export.status.value}

    def _export(
        self,
        found: OpenBackup,
        wanted: ExportEvent,
        export_id: str,
        recipients: tuple[str, ...],
        actor: Actor,
        context: LambdaContext,
    ) -> Restore | None:
        bucket = self.services.settings.export_bucket
        if bucket is None:
            raise SettingsError(
                "This stack has no bucket for exports: its console is off.",
                hint="Deploy it with the parameter Console=on, or export on your machine: coffre export.",
            )
        backup, stop = found.backup, threading.Event()
        name = wanted.export.file_name(backup.target, backup.kind, backup.created_at)
        audit = self.services.catalog.audit
        run = run_of(self.services, found, context, stop.set)

        def check() -> None:
            if stop.is_set():
                raise RunStoppedError("The export was stopped.")

        def work(meter: Meter) -> RestoreReport:
            # That it is read is recorded first: what cannot be recorded is not read.
            audit.record(utc_now(), actor, _ACTION, backup.target, backup.id, f"{name}, to {', '.join(recipients)}")
            decoder = self.services.decoder(backup.target)
            file = ExportFile(found.vault, decoder, backup, wanted.export, recipients, check, meter)
            try:
                with (
                    closing(make_client(session=self.services.session)) as client,
                    streamed(client, bucket, key_of(export_id, name)) as upload,
                ):
                    written = file.write(upload.write)
            except Exception as error:
                audit.record_failure(utc_now(), actor, _ACTION, backup.target, backup.id, error)
                raise
            made = f"Wrote {name} ({size(upload.size)}), encrypted to {', '.join(recipients)}."
            return RestoreReport(
                id=export_id,
                backup_id=backup.id,
                target=backup.target,
                destination=destination_of(name),
                steps=(made, f"To open it: {how_to_open(name)}"),
                tables=written.tables,
                rows=sum(table.rows for table in written.tables),
                phases_ms={},
                exceptions=written.exceptions,
                notes=written.notes,
            )

        return run.run(new_record(backup, export_id, destination_of(name), context, source=wanted.source), work)
