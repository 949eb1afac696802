"""The function `journal`: which targets an event means, what is done with each, and which alerts follow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from coffre.alerts.alert import AlertKind
from coffre.alerts.journals import journal_ended, journal_limited, journal_stopped
from coffre.model.backup import Failure
from coffre.model.configuration import Configuration
from coffre.model.database_target import DatabaseTarget
from coffre.model.errors import CoffreError, EventError, JournalTransientError, TargetUnknownError, TransientError
from coffre.model.journal import IntervalEnd, JournalEnd, JournalGap, JournalState
from coffre.model.journal_options import JournalOptions
from coffre.operations.journal.drain import drain
from coffre.operations.journal.guard import guard
from coffre.operations.journal.job import DrainReport, JournalJob
from coffre.operations.journal.switch_off import switch_off
from coffre.policy.journal_health import has_journal, is_due, is_retried
from coffre.runtime.bootstrap import Services
from coffre.runtime.environment import Settings
from coffre.runtime.events.journal import JournalEvent
from coffre.runtime.function import LambdaContext, utc_now
from coffre.runtime.invocations import start_each
from coffre.runtime.journal_jobs import JournalJobs, usage_id
from coffre.runtime.metering import metered
from coffre.runtime.observability import log_failure

type _Event = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class JournalFunction:
    """Everything that lives as long as the function's process."""

    services: Services

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        return cls(Services("journal", Settings.from_env(environment)))

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Do what the event asks with one target, or start one invocation for each target that it means."""
        jobs = JournalJobs(self.services)
        with self.services.edge.beginning(context, event):
            wanted = JournalEvent.parse(event)
            configuration = self.services.configuration()
            if wanted.target is None:
                return self._start(configuration, wanted, context.function_name)
        try:
            configuration, target = _meant(configuration, jobs, wanted, wanted.target)
        except (EventError, TargetUnknownError) as error:
            self._refuse(wanted, error)
            raise
        self.services.metering.about(target.name, usage_id(target.name, utc_now()))
        try:
            with jobs.job(configuration, target, context) as job:
                if wanted.off:
                    return self._switch_off(job, wanted)
                return self._guard(job) if wanted.guard else self._drain(job, target)
        except JournalTransientError as error:
            return self._waits(target.name, error)
        except Exception as error:
            log_failure(self.services.edge.logger, error, target=target.name)
            # What may pass is reported when it lasts (`verify_journals`): a drain is tried again soon.
            if not isinstance(error, TransientError):
                alert = journal_stopped(target.name, Failure.of(error), request_id=context.aws_request_id)
                self.services.edge.publish(alert, target=target.name)
            raise

    # --- each target of its own ---

    def _start(self, configuration: Configuration, wanted: JournalEvent, function: str) -> dict[str, Any]:
        sent = wanted.sent_by(self.services.actor(wanted))
        events = list(self._events(configuration, sent))
        return {"started": start_each(self.services.functions, function, events, "journal")}

    def _events(self, configuration: Configuration, wanted: JournalEvent) -> Iterator[_Event]:
        """Yield the event of each target that is meant, and of each that has a slot and is configured no more."""
        states = self.services.catalog.journals.all()
        journals = {target.name: target for target in configuration.databases if has_journal(target)}
        tick = wanted.scheduled_time
        for name, target in journals.items():
            state = states.get(name)
            if wanted.guard:
                is_meant = state is not None and state.slot is not None
            else:
                is_meant = tick is None or (target.journal is not None and is_due(target.journal, state, tick))
            if is_meant:
                yield name, wanted.for_target(name)
        for name in sorted(states.keys() - journals.keys()):
            if wanted.guard or (tick is not None and is_retried(states[name], tick)):
                yield name, wanted.for_target(name, off=True)

    # --- one target ---

    def _drain(self, job: JournalJob, target: DatabaseTarget) -> dict[str, Any]:
        before = job.journals.find(job.target)
        if before is None:
            self._report_limits(job, target.journal or JournalOptions())
        report = drain(replace(job, report_end=lambda *ended: self._report_end(job.target, *ended)))
        if before is not None and self._is_doubted(before, report.state):
            job.ask_for_base("A drill has found that the journal is not equal.")
        edge = self.services.edge
        if report.is_complete:
            edge.recovered(job.target, AlertKind.JOURNAL_LAG, target=job.target)
        answer = _answer(report)
        edge.logger.info("journal drained", extra=answer)
        return answer

    def _report_limits(self, job: JournalJob, options: JournalOptions) -> None:
        """Say once what a journal that begins lacks: not every way to configure one has looked at its server."""
        from coffre.runtime.journal_limits import limits_of  # here, for no drain waits for it

        edge = self.services.edge
        found = limits_of(job, options, edge.logger)
        if found:
            edge.publish(journal_limited(job.target, found), target=job.target)

    def _is_doubted(self, before: JournalState, state: JournalState) -> bool:
        """Whether a drill has found, since the drain before, that the interval is not equal: a new base is needed."""
        newest = next(iter(self.services.catalog.journal_proofs.of(state.target)), None)
        if newest is None or before.drained_at is None:
            return False
        return newest.is_doubtful and newest.interval == state.interval and before.drained_at < newest.proven_at

    def _guard(self, job: JournalJob) -> dict[str, Any]:
        ended = guard(replace(job, report_end=lambda *ended: self._report_end(job.target, *ended)))
        return {"target": job.target, "dropped": ended is not None, "why": ended.text if ended else None}

    def _switch_off(self, job: JournalJob, wanted: JournalEvent) -> dict[str, Any]:
        done = switch_off(job)
        self.services.edge.audit(self.services.actor(wanted), "journal.switched-off", job.target)
        self.services.edge.recovered(job.target, AlertKind.JOURNAL_LAG, target=job.target)
        answer = {"target": job.target, "dropped": done is not None and done.is_dropped}
        return {**answer, "left": done.left} if done is not None and done.left else answer

    def _waits(self, target: str, error: JournalTransientError) -> dict[str, Any]:
        """Answer why nothing was done: the next drain does it, and nothing is lost until then."""
        self.services.edge.logger.warning("journal waits", extra={"target": target, "code": error.code})
        return {"target": target, "waits": error.code, "message": error.message, "hint": error.hint}

    def _refuse(self, wanted: JournalEvent, error: CoffreError) -> None:
        edge, action = self.services.edge, "journal.switched-off" if wanted.off else "journal.drained"
        edge.publish(edge.refused(self.services.actor(wanted), action, error, target=wanted.target))

    def _report_end(self, target: str, interval: str, end: IntervalEnd, gap: JournalGap) -> None:
        if end.reason is not JournalEnd.SWITCHED_OFF:
            self.services.edge.publish(journal_ended(target, interval, end, gap), target=target)


def _meant(
    configuration: Configuration, jobs: JournalJobs, wanted: JournalEvent, name: str
) -> tuple[Configuration, DatabaseTarget]:
    """Return the target that an event names, with the configuration that has it.

    Raises
    ------
    TargetUnknownError
        The configuration, and for `off` no older version of it either, has no database of this name.
    EventError
        `JOURNAL_NOT_CONFIGURED`, or for `off` `JOURNAL_CONFIGURED`.
    """
    known = next((one for one in configuration.databases if one.name == name), None)
    if known is not None and has_journal(known):
        if wanted.off:
            raise EventError(
                f'The target "{name}" has a journal: it would begin again with the next tick.',
                code="JOURNAL_CONFIGURED",
                hint=f"coffre journal off {name} removes `journal` of the target first, and drops its slot then.",
            )
        return configuration, known
    if wanted.off:
        return (configuration, known) if known is not None else jobs.former(name)
    configuration.database(name)
    raise EventError(
        f'The target "{name}" has no journal.',
        code="JOURNAL_NOT_CONFIGURED",
        hint="docs/point-in-time.md says what a server needs; then add `journal` to the target: coffre config edit.",
    )


def _answer(report: DrainReport) -> dict[str, Any]:
    state = report.state
    return {
        "target": state.target,
        "segments": report.segments,
        "transactions": report.transactions,
        "lines": report.lines,
        "stored_bytes": report.stored_bytes,
        "is_complete": report.is_complete,
        "seen_at": state.seen_at.isoformat() if state.seen_at else None,
        "retained_bytes": state.retained_bytes,
        "begun": list(report.begun),
        "ended": [{"interval": interval, **end.model_dump(mode="json")} for interval, end in report.ended],
        "notes": list(report.notes),
    }
