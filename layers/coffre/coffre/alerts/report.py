"""The mail of a report: the first line of `coffre status`, then what ran, what was proven, and what is left to do."""

from __future__ import annotations

from collections.abc import Iterator

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.wording import alert_of
from coffre.model.report import PeriodReport, TargetReport
from coffre.model.words import counted, size
from coffre.policy.cost import dollars
from coffre.policy.objectives import words_of


def report_mail(report: PeriodReport, place: str, *, with_contacts: bool) -> Alert:
    """Return the mail.

    Parameters
    ----------
    place
        Where the page is in the vault.
    with_contacts
        Whether the mail names the contacts, which are personal data.
    """
    year, week, _ = report.at.isocalendar()
    text = "\n".join(text_of(report, with_contacts=with_contacts))
    where = f"The page, with sizes, accesses and contacts: {place}\n    coffre report weekly --output report.html"
    return alert_of(
        AlertKind.REPORT,
        EVERY_TARGET,
        f"Week {week}: {report.status.headline}",
        f"{text}\n\n{where}",
        fingerprint=f"{year}-W{week:02d}",
    )


def text_of(report: PeriodReport, *, with_contacts: bool) -> Iterator[str]:
    """Yield the lines; an indented one is a command. The first one is that of `coffre status`."""
    yield report.status.headline
    yield ""
    yield f"The {report.period.noun} from {report.since:%Y-%m-%d} to {report.at:%Y-%m-%d}:"
    for target in report.targets:
        yield from _target(target)
    for restore in report.restores:
        yield f"- restore {restore}"
    for copy in report.copies:
        late = f", {copy.overdue} overdue" if copy.overdue else ""
        done = f"{copy.complete} of {counted(copy.wanted, 'backup')}"
        yield f"- copy {copy.name}: {done} complete, {copy.verified} verified{late}"
    if not report.copies:
        yield "- No copies are configured: the vault is the only place."
    yield from _shared(report)
    for period in report.periods:
        yield ""
        yield f"What to do this {period.noun}:"
        for todo in report.todos:
            if todo.period is period:
                yield f"[{'x' if todo.done else ' '}] {todo.text}{f' - {todo.done}' if todo.done else ''}"
                if not todo.done:
                    yield f"    {todo.command}"
    if with_contacts and report.contacts:
        yield ""
        yield "Whom to call:"
        for one in report.contacts:
            yield f"- {', '.join(filter(None, (one.name, one.role, one.phone, one.mail)))}"


def _target(target: TargetReport) -> Iterator[str]:
    failed = f", {target.failed} FAILED" if target.failed else ""
    newest = f", {size(target.sizes[-1])}" if target.sizes else ""
    proofs = f"{target.verified} verified, drill: {target.drill or 'none'}"
    yield f"- {target.name}: {counted(target.backups, 'good backup')}{failed}{newest}, {proofs}"
    if target.measured is not None:
        yield from (f"  - {words}" for words in words_of(target.measured))
    yield from (f"  - failed {words}" for words in target.failures)


def _shared(report: PeriodReport) -> Iterator[str]:
    vault = report.status.vault
    if vault is not None:
        journals = f" and {size(vault.journal_bytes)} of journals" if vault.journal_bytes else ""
        yield f"- vault: {size(vault.size_bytes)}{journals}, deduplication saves {size(report.status.saved_bytes)}"
    for one in report.status.journals:
        upto = f"moments up to {one.until:%Y-%m-%d %H:%M} UTC" if one.until else "no moment can be restored"
        yield f"- journal of {one.target}: {upto}{f'; {one.problem}' if one.problem else ''}"
    if report.cost is not None:
        money = report.cost
        until_now, whole = dollars(money.until_now), dollars(money.whole_month)
        yield f"- cost: about {until_now} this month until now, {whole} for all of it"
    for alert in report.status.alerts:
        yield f"- open alert: {alert.kind} of {alert.target} since {alert.since:%Y-%m-%d}"
    for key in report.keys_due:
        yield f"- key to replace: {key}"
