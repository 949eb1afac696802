"""How an alert is laid out: what, since when, why, what is still safe, what to do, what to type, where to read on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from coffre.alerts.alert import Alert, AlertKind, subject_of
from coffre.model.backup import Failure
from coffre.model.names import visible
from coffre.model.target import TargetKind

# A mail with thousands of lines is read by nobody, and SNS takes 256 KB.
_BULLETS_SHOWN: Final = 10
_BULLET_LETTERS: Final = 500


def alert_of(
    kind: AlertKind,
    target: str,
    subject: str,
    what: str,
    *,
    since: datetime | None = None,
    why: str | None = None,
    safe: str | None = None,
    hint: str | None = None,
    commands: Iterable[str] = (),
    ids: str | None = None,
    fingerprint: str = "",
) -> Alert:
    """Return an alert whose text a person understands at three in the morning.

    Parameters
    ----------
    what
        What happened, in a sentence or two; several lines may follow.
    safe
        Which backup can still be relied upon: a sentence of `coffre.operations.monitoring.alerting.what_is_safe`.
    hint, commands
        What to do now, and what to type.
    ids
        What to look for in logs and lists.
    """
    facts = [
        f"Since: {moment(since)}" if since else None,
        f"Why: {why}" if why else None,
        safe,
        f"What to do: {hint}" if hint else None,
    ]
    paragraphs = [
        what,
        "\n".join(filter(None, facts)),
        "\n".join(f"    {command}" for command in commands),
        "\n".join(filter(None, [ids, f"Runbook: {kind.runbook}"])),
    ]
    text = visible("\n\n".join(filter(None, paragraphs)), breaks=True)
    return Alert(kind, target, subject_of(subject), text, fingerprint)


def bullets(texts: Sequence[str]) -> list[str]:
    """Return the first few of many, one a line, and how many more there are."""
    shown = [f"- {visible(text)[:_BULLET_LETTERS]}" for text in texts[:_BULLETS_SHOWN]]
    more = len(texts) - len(shown)
    return [*shown, f"... and {more:,} more"] if more else shown


def backup_command(kind: TargetKind, target: str) -> str:
    """Return what takes a backup of a target now."""
    return f"coffre backup {kind.word} {target}"


def because(failure: Failure) -> str:
    """Return why something failed, with the code that scripts and runbooks know it by."""
    return f"{failure.message} [{failure.code}]"


def ids_of(**ids: str | None) -> str:
    """Return a line with those ids that are known."""
    return "Ids: " + ", ".join(f"{name} {value}" for name, value in ids.items() if value)


def moment(time: datetime) -> str:
    """Return a time as people write it."""
    return f"{time:%Y-%m-%d %H:%M} UTC"
