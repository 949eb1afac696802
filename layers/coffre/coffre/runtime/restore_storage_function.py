"""The function `restore`, for objects: which store they go to, in as many invocations as it takes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from coffre.buckets.client import make_bucket_client, parse_store_secret
from coffre.buckets.writer import BucketWriter
from coffre.concurrency.renewal import Renewal
from coffre.model.backup import Backup, Restore
from coffre.model.bucket_target import ObjectStore
from coffre.model.confirmation import Plan
from coffre.model.errors import CoffreError, ConfirmationError, DeadlineError, TargetUnknownError
from coffre.model.restore_report import RestoreReport
from coffre.model.storage import StorageState
from coffre.operations.restore_buckets.job import StorageJob
from coffre.operations.restore_buckets.report import said_so_far
from coffre.operations.restore_buckets.restore import restore_storage
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Paused
from coffre.operations.runs.safety import named_on_error
from coffre.runtime.bootstrap import Services
from coffre.runtime.credentials import keys_from
from coffre.runtime.events.restore import StorageRestoreEvent
from coffre.runtime.function import LambdaContext, remaining_seconds
from coffre.runtime.invocations import MOST_INVOCATIONS, start_next
from coffre.runtime.reading import OpenBackup
from coffre.runtime.restore_runs import begun, run_of
from coffre.runtime.restore_safety import RestoreSafety
from coffre.runtime.scratch import scratch_directory
from coffre.stores.s3_client import S3Credentials
from coffre.vault.codec import FrameDecoder
from coffre.vault.object_restores import read_state

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

# Each large object has connections of its own for parts, in addition to those of the streams.
_MORE_CONNECTIONS: Final = 8


@dataclass(frozen=True)
class StorageRestores:
    """What restores of objects need of the function's process.

    `report_started` reports a restore that begins, `report_died` an earlier one that died; `consent` is that of a job;
    `watched` gets the watch of the run.
    """

    services: Services
    report_started: Callable[[Restore], None]
    report_died: Callable[[Restore], None]
    consent: Callable[[Plan], Plan]
    watched: Callable[[Watch], None] = lambda _: None

    def restore(
        self,
        found: OpenBackup,
        wanted: StorageRestoreEvent,
        restore_id: str,
        decoder: FrameDecoder,
        context: LambdaContext,
    ) -> Restore | None:
        """Restore as much as fits into this invocation, and start the next one for what is left.

        None: it has ended, or another invocation works on it.
        """
        backup = found.backup
        sent = wanted.sent_by(self.services.actor(wanted))  # now: a proof is valid for minutes
        stop = threading.Event()
        run = run_of(self.services, found, context, stop.set, report_died=self.report_died, watched=self.watched)
        continues = wanted.invocation > 1
        record = begun(self.services, backup, wanted, restore_id, context, self.report_started, continues=continues)
        if record is None:
            return None

        def work(meter: Meter) -> RestoreReport | Paused:
            done = self._work(found, wanted, restore_id, decoder, context, stop, meter)
            if isinstance(done, RestoreReport):
                return done
            return Paused(wanted.invocation, lambda: self._start_next(backup, sent, done, context.function_name))

        return run.run(record, work, continues=continues)

    def _work(
        self,
        found: OpenBackup,
        wanted: StorageRestoreEvent,
        restore_id: str,
        decoder: FrameDecoder,
        context: LambdaContext,
        stop: threading.Event,
        meter: Meter,
    ) -> RestoreReport | StorageState:
        backup, vault = found.backup, found.vault
        before = read_state(vault, restore_id) if wanted.invocation > 1 else None
        if before is not None and before.result.store_secret != wanted.store:
            raise ConfirmationError(
                f"The restore {restore_id} was begun for another store than this event would continue it in.",
                code="CONFIRMATION_MISMATCH",
                hint="Nothing was changed by this event. Start the restore again: what is restored is skipped.",
            )
        store, keys = self._store(backup, wanted)
        client = make_bucket_client(store, keys, connections=wanted.streams + _MORE_CONNECTIONS)
        self.services.metering.tally.watch(client, "source")
        with closing(client), scratch_directory() as scratch:
            job = StorageJob(
                restore_id=restore_id,
                backup=backup,
                vault=vault,
                decoder=decoder,
                scope=wanted.storage,
                open_bucket=_opener(client, store),
                store=store.endpoint or "AWS",
                store_secret=wanted.store,
                streams=wanted.streams,
                scratch=scratch,
                stop=stop,
                remaining_seconds=remaining_seconds(context),
                consent=self.consent,
                continues=True,
            )
            safety = before.safety if before else RestoreSafety(self.services, vault).of_buckets(job, store)
            with named_on_error(safety):
                return restore_storage(replace(job, safety=safety), before, meter)

    def _store(self, backup: Backup, wanted: StorageRestoreEvent) -> tuple[ObjectStore, Renewal[S3Credentials] | None]:
        """Return the store that objects go to, by default the target's own, and its key if it needs one."""
        if wanted.store is not None:
            text = self.services.secret(wanted.store)
            place = parse_store_secret(text, where=wanted.store).store
            return place, keys_from(self.services.secret, wanted.store, text)
        store = self._own_store(backup)
        if store.secret is None:
            return store, None
        return store, keys_from(self.services.secret, store.secret, self.services.secret(store.secret))

    def _own_store(self, backup: Backup) -> ObjectStore:
        try:
            return self.services.configuration().bucket(backup.target).store
        except TargetUnknownError as error:
            raise TargetUnknownError(
                f'The buckets of "{backup.target}" are not configured any more, so their store is not known.',
                detail=error.detail,
                hint="Name a store: coffre restore objects ID --store ... (a secret with its address and key).",
            ) from error

    def _start_next(self, backup: Backup, wanted: StorageRestoreEvent, state: StorageState, function: str) -> None:
        event = wanted.next_invocation(backup.id, state.restore_id, state.invocation)
        hint = "Run the restore again: objects that are restored already are found to be identical, and skipped."
        try:
            if state.invocation > MOST_INVOCATIONS:
                raise DeadlineError(
                    f"The restore is not done after {MOST_INVOCATIONS} invocations, and was ended.",
                    detail=f"It came as far as {state.after}",
                    hint="Restore it in pieces (--bucket, --prefix). "
                    "Objects that are restored already are found to be identical, and skipped.",
                )
            start_next(self.services.functions, function, event, what="The restore", hint=hint)
        except CoffreError as error:
            error.add_note(said_so_far(state.result))
            for upload in state.begun:
                error.add_note(f"Parts of the upload {upload.upload_id} of {upload.key} are left in {upload.bucket}.")
            raise


def _opener(client: S3Client, store: ObjectStore) -> Callable[[str], BucketWriter]:
    return lambda name: BucketWriter(client, name, is_aws=store.endpoint is None)
