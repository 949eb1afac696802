"""The layout of an alert: what, since when, why, which backup is safe, what to do, commands, where to read more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from coffre.alerts.alert import Alert, AlertKind, subject_of
from coffre.model.backup import Failure
from coffre.model.kinds import TargetKind
from coffre.model.names import visible

# A mail with thousands of lines helps no reader, and SNS accepts 256 KB.
_BULLETS_SHOWN: Final = 10
_BULLET_LETTERS: Final = 500


def alert_of(
    kind: AlertKind, target: str, subject: str, body: str, *, ids: str | None = None, fingerprint: str = ""
) -> Alert:
    """Return an alert that ends with its runbook; `ids` are what to look for in logs and lists."""
    last = "\n".join(filter(None, [ids, f"Runbook: {kind.runbook}"]))
    return Alert(kind, target, subject_of(subject), visible(f"{body}\n\n{last}", breaks=True), fingerprint)


def body_of(
    what: str,
    *,
    since: datetime | None = None,
    why: str | None = None,
    safe: str | None = None,
    hint: str | None = None,
    commands: Iterable[str] = (),
) -> str:
    """Return the text of an alert so that a tired operator understands it.

    Parameters
    ----------
    what
        What happened, in a sentence or two; several lines may follow.
    safe
        Which backup can still be restored: a sentence of `coffre.operations.monitoring.alerting.what_is_safe`.
    hint, commands
        What to do now, and the commands for it.
    """
    facts = [
        f"Since: {moment(since)}" if since else None,
        f"Why: {why}" if why else None,
        safe,
        f"What to do: {hint}" if hint else None,
    ]
    paragraphs = [what, "\n".join(filter(None, facts)), "\n".join(f"    {command}" for command in commands)]
    return "\n\n".join(filter(None, paragraphs))


def bullets(texts: Sequence[str]) -> list[str]:
    """Return the first few texts, one a line, and the number of those left out."""
    shown = [f"- {visible(text)[:_BULLET_LETTERS]}" for text in texts[:_BULLETS_SHOWN]]
    more = len(texts) - len(shown)
    return [*shown, f"... and {more:,} more"] if more else shown


def backup_command(kind: TargetKind, target: str) -> str:
    """Return the command that takes a backup of a target now."""
    return f"coffre backup {kind.word} {target}"


def because(failure: Failure) -> str:
    """Return why something failed, with its code."""
    return f"{failure.message} [{failure.code}]"


def ids_of(**ids: str | None) -> str:
    """Return a line with the known ids."""
    return "Ids: " + ", ".join(f"{name} {value}" for name, value in ids.items() if value)


def moment(time: datetime) -> str:
    """Return a time as text."""
    return f"{time:%Y-%m-%d %H:%M} UTC"
