"""How `coffre status` looks: the answer, the reasons with their cures, a row for each target, then what all share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rich.text import Text

from coffre.model.status_facts import JOURNAL_SCHEDULE
from coffre.model.words import counted, duration, size
from coffre.policy.cost import dollars
from coffre.policy.objectives import words_of
from coffre_cli.screen import age, ahead, print_table, say, say_command, sparkline

if TYPE_CHECKING:
    from coffre.model.drill import DrillSummary
    from coffre.model.status import JournalStatus, StatusReport, TargetStatus
    from coffre.model.status_facts import CheckupSummary

_STANDINGS: Final = {  # by `Standing`
    "not_safe": ("NOT SAFE", "bold red"),
    "unknown": ("unknown", "yellow"),
    "safe": ("safe", "green"),
}
_OUTCOMES: Final = {"failed": "red", "incomplete": "yellow", "not_possible": "yellow"}  # by `Outcome`
_COMMANDS: Final = ("coffre ", "aws ", "sam ")
_ALERTS_SHOWN: Final = 5
_COLUMNS: Final = (
    *("TARGET", "STATE", "BACKUP", "LIMIT", "VERIFIED", "DRILL"),
    *("RESTORE", "SIZE", "SIZES", "NEXT", "KEYS", "TRIED"),
)
# Only names, and what has several words anyway, are folded: a table of halved words is worse than none.
_WHOLE: Final = tuple(column for column in _COLUMNS if column not in ("TARGET", "DRILL", "RESTORE"))


def show_status(report: StatusReport) -> None:
    """Show the answer."""
    say(report.headline, style=_STANDINGS[report.standing.value][1].replace("green", "bold green"))
    for number, reason in enumerate(report.reasons):
        if number:
            say(f"Also: {reason.sentence}", style=_STANDINGS[reason.standing.value][1])
        if reason.cure is not None:
            _say_cure(reason.cure)
    worst_first = sorted(report.targets, key=lambda one: [*_STANDINGS].index(one.standing.value))
    print_table(_COLUMNS, (_row(one, report) for one in worst_first), right=["SIZE"], whole=_WHOLE)
    for line in _shared(report):
        say(line)


def _say_cure(cure: str) -> None:
    if cure.startswith(_COMMANDS):
        say_command(cure)
    else:
        say(f"  {cure[0].upper()}{cure[1:]}.")


def _row(one: TargetStatus, report: StatusReport) -> list[str | Text]:
    word, style = _STANDINGS[one.standing.value]
    has_stack = _has_stack(report)
    return [
        one.name,
        Text(word, style=style),
        _backup(one, report.at),
        f"{one.limit_hours:g} h" if one.limit_hours is not None else "unknown",
        age(one.verified_at, report.at) if one.verified_at else ("never" if has_stack else "unknown"),
        _drill(one.drill, report.at) if one.drill else ("none known" if has_stack else "unknown"),
        _restore(one.drill),
        size(one.size_bytes),
        sparkline(one.sizes) or "-",
        _next(one, report),
        _keys(one, report.at) if has_stack else "unknown",
        _tried(one, report) if has_stack else "unknown",
    ]


def _has_stack(report: StatusReport) -> bool:
    return all(reason.code != "VAULT_ALONE" for reason in report.reasons)


def _backup(one: TargetStatus, now: datetime) -> str:
    return age(one.last_backup_at, now) if one.last_backup_at else "none"


def _drill(drill: DrillSummary, now: datetime) -> Text:
    word = drill.outcome.value.replace("_", " ")
    return Text(f"{word} {age(drill.completed_at, now)}", style=_OUTCOMES.get(drill.outcome.value, ""))


def _restore(drill: DrillSummary | None) -> str:
    """Return how long the last restore of everything took, and whether that is longer than it may."""
    if drill is None or drill.restore_seconds is None:
        return "-"
    limit = drill.restore_limit_seconds
    is_late = limit is not None and drill.restore_seconds > limit
    return f"{duration(round(drill.restore_seconds * 1000))}{', late' if is_late else ''}"


def _next(one: TargetStatus, report: StatusReport) -> str:
    if one.running_since is not None:
        return "running"
    if one.next_run_at is not None:
        return ahead(one.next_run_at, report.at)
    own = [schedule for schedule in report.schedules if schedule.starts_backups_of(one)]
    return "none" if own and all(schedule.state != "enabled" for schedule in own) else "unknown"


def _keys(one: TargetStatus, now: datetime) -> str:
    if not one.recipients:
        return "none"
    since = f", {age(one.keys_since, now).removesuffix(' ago')}" if one.keys_since else ""
    return f"{len(one.recipients)}{since}"


def _tried(one: TargetStatus, report: StatusReport) -> str:
    """Return when the key that was not tried for the longest time was; how many were when some never were."""
    if _unread(report, "trials of keys"):
        return "unknown"
    if not one.keys_opened:
        return "-"
    tried = [at for at in one.keys_opened.values() if at is not None]
    if not tried:
        return "never"
    whole = len(tried) == len(one.keys_opened)
    return age(min(tried), report.at) if whole else f"{len(tried)} of {len(one.keys_opened)}"


def _shared(report: StatusReport) -> Iterator[str]:
    now = report.at
    if report.vault is not None:
        held = f"{size(report.vault.size_bytes)} in {counted(report.vault.packs, 'pack')}"
        if report.vault.journal_bytes:
            held += f" and {size(report.vault.journal_bytes)} of journals"
        saved = f"deduplication saves {size(report.saved_bytes)}"
        yield f"Vault: {held}; {saved} (measured {age(report.vault.measured_at, now)})"
    elif _has_stack(report) and not _unread(report, "vault"):
        yield "Vault: its size is measured by the next rotation (coffre rotate)"
    for copy in report.copies:
        yield f"Copy {copy.name}: {copy.sentence}"
    for journal in report.journals:
        yield f"Journal of {journal.target}: {_journal(journal, now)}"
    if report.cost is not None:
        until_now, whole = dollars(report.cost.until_now), dollars(report.cost.whole_month)
        storage = "" if report.vault is not None else ", storage not counted"
        yield f"Cost: about {until_now} this month until now, {whole} for all of it{storage} (coffre cost)"
    for target in report.targets:
        if target.measured is not None:
            yield f"Objectives of {target.name}: {', '.join(words_of(target.measured))}"
    for one in report.unread:
        yield f"Not read: the {one.what.value}: {one.why}"
    if report.alerts:
        shown = [f"{alert.kind} of {alert.target} {age(alert.since, now)}" for alert in report.alerts[:_ALERTS_SHOWN]]
        more = len(report.alerts) - len(shown)
        rest = [f"{more} more"] if more else []
        yield f"Alerts: {counted(len(report.alerts), 'open one')}: {', '.join(shown + rest)} (coffre alerts list)"
    elif _has_stack(report) and not _unread(report, "alerts"):
        yield "Alerts: no open alerts"
    if report.checkups:
        yield f"Doctor: {'; '.join(_checkup(one, now) for one in report.checkups)} (coffre doctor)"
    following = sorted(
        (one.next_at, one.job)
        for one in report.schedules
        if not one.starts_backups and one.job != JOURNAL_SCHEDULE and one.next_at is not None
    )
    if following:
        # The next drill is the weekly or the monthly one; backups are in the rows.
        first = dict(reversed([(job.rpartition("-")[2], at) for at, job in following]))
        words = [f"{job} {ahead(at, now)}" for job, at in sorted(first.items(), key=lambda pair: pair[1])]
        yield f"Next: {', '.join(words)}"


def _journal(one: JournalStatus, now: datetime) -> str:
    if one.until is None:
        return one.problem or "no moment can be restored yet"
    kept = f", the server keeps {size(one.retained_bytes)} of WAL" if one.retained_bytes else ""
    words = f"moments of {counted(one.window_days, 'day')}, the newest {age(one.until, now)}{kept}"
    return f"{words}; {one.problem}" if one.problem else words


def _checkup(one: CheckupSummary, now: datetime) -> str:
    counts = {"blocker": len(one.blockers), "warning": len(one.warnings)}
    found = [counted(count, noun) for noun, count in counts.items() if count]
    found += [f"{one.unseen} not seen"] if one.unseen else []
    return f"{one.target or 'what all share'} {', '.join(found) or 'nothing found'}, {age(one.at, now)}"


def _unread(report: StatusReport, what: str) -> bool:
    return any(one.what.value == what for one in report.unread)
