"""Messages in Slack's format (Block Kit): a header, the text with its commands, links as buttons."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final

import urllib3

from coffre.alerts.links import Link
from coffre.alerts.message import Message
from coffre.model.errors import CoffreError, PermanentError, TransientError
from coffre.model.names import visible

# Slack's limits (its reference of Block Kit, 2026): 150 letters in a header, 3,000 in a section, 50 blocks.
_HEADER_LETTERS: Final = 150
_SECTION_LETTERS: Final = 2_900
_SECTIONS: Final = 45

_MARKS: Final = {"critical": "\U0001f534", "warning": "\U0001f7e1", "info": "\U0001f535"}
_OVER: Final = "\U0001f7e2"

_ATTEMPTS: Final = 3
_PAUSE_SECONDS: Final = 1.0
# A longer wait is left to Lambda, which tries again a minute later.
_LONGEST_PAUSE_SECONDS: Final = 60.0
_TIMEOUT: Final = urllib3.Timeout(connect=5, read=10)
_OK: Final = 200
_TOO_MANY: Final = 429
_SERVER_ERROR: Final = 500


class SlackError(TransientError):
    """Slack did not accept a message, and may later. No text has the webhook's URL: anyone who knows it can write."""

    default_code = "SLACK_UNAVAILABLE"


class SlackRefusedError(PermanentError):
    """Slack does not accept messages at this URL."""

    default_code = "SLACK_REFUSED"


def payload_of(message: Message, links: Sequence[Link] = ()) -> dict[str, Any]:
    """Return the body for an incoming webhook."""
    mark = _OVER if message.is_over else _MARKS.get(message.severity, "")
    title = f"{mark} {visible(message.subject)}".strip()[:_HEADER_LETTERS]
    about = visible(" · ".join([message.severity, message.kind, message.target, message.state]))
    buttons = [
        {"type": "button", "text": {"type": "plain_text", "text": link.label}, "url": link.url} for link in links
    ]
    sections = [
        {"type": "section", "text": {"type": "mrkdwn", "text": text}} for text in _sections(message.text)[:_SECTIONS]
    ]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": title}},
        *sections,
        *([{"type": "actions", "elements": buttons}] if buttons else []),
        {"type": "context", "elements": [{"type": "mrkdwn", "text": _escaped(about)}]},
    ]
    # Notifications show `text`, and so do clients without support for blocks.
    return {"text": _escaped(title), "blocks": blocks}


def _sections(text: str) -> list[str]:
    """Return the text in pieces that Slack accepts, commands as code that can be copied."""
    pieces = []
    for is_command, lines in groupby(visible(text, breaks=True).split("\n"), key=lambda line: line.startswith("    ")):
        joined = _escaped("\n".join(line.removeprefix("    ") for line in lines)).strip("\n")
        for start in range(0, len(joined), _SECTION_LETTERS):
            piece = joined[start : start + _SECTION_LETTERS]
            pieces.append(f"```{piece}```" if is_command else piece)
    return pieces


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def post(url: str, payload: dict[str, Any], *, place: str, pause: Callable[[float], None]) -> None:
    """Send a message to an incoming webhook, with retries when Slack is busy.

    Parameters
    ----------
    place
        Where the URL is configured. Errors name this place, never the URL itself.
    pause
        Waits for this number of seconds.

    Raises
    ------
    SlackError
        Retryable: Slack did not answer, is busy, or failed.
    SlackRefusedError
        The URL is wrong or was revoked.
    """
    body = json.dumps(payload).encode()
    for attempt in range(1, _ATTEMPTS + 1):
        wait_seconds, error = _once(url, body, place, attempt)
        if error is None:
            return
        if isinstance(error, PermanentError) or attempt == _ATTEMPTS or wait_seconds > _LONGEST_PAUSE_SECONDS:
            raise error
        pause(wait_seconds)


def _once(url: str, body: bytes, place: str, attempt: int) -> tuple[float, CoffreError | None]:
    """Return how long to wait before the next attempt, and the error."""
    try:
        with urllib3.PoolManager(timeout=_TIMEOUT, retries=False) as pool:
            answer = pool.request("POST", url, body=body, headers={"Content-Type": "application/json"})
    except (urllib3.exceptions.HTTPError, ValueError) as error:
        return attempt * _PAUSE_SECONDS, _unavailable(place, f"No answer ({type(error).__name__}).")
    if answer.status == _OK:
        return 0, None
    words = f"Slack answered {answer.status}: {answer.data[:100].decode(errors='replace')!r}"
    if answer.status == _TOO_MANY:
        return _retry_after(answer.headers.get("Retry-After"), attempt), _unavailable(place, words)
    if answer.status >= _SERVER_ERROR:
        return attempt * _PAUSE_SECONDS, _unavailable(place, words)
    hint = "The webhook may be revoked, or its channel archived. Make a new one in Slack and put it into the secret."
    return 0, SlackRefusedError(f"Slack does not accept messages at {place}.", detail=words, hint=hint)


def _retry_after(header: str | None, attempt: int) -> float:
    return float(header) if header and header.isdigit() else attempt * _PAUSE_SECONDS


def _unavailable(place: str, detail: str) -> SlackError:
    return SlackError(
        f"Slack did not accept a message at {place}.",
        detail=detail,
        hint="Lambda tries again twice within a few minutes; after that the message is in the queue FailedEvents.",
    )
