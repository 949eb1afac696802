"""Whatever apprise can reach. Imported by `notify` alone and late: it takes seconds, and a layer of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Final

import apprise

from coffre.alerts.destinations import malformed_url
from coffre.alerts.links import Link
from coffre.alerts.message import Message
from coffre.model.errors import TransientError
from coffre.model.names import visible

_STATUS: Final = re.compile(r"error\s*=\s*(\d{3})")
_TYPES: Final = {
    "critical": apprise.NotifyType.FAILURE,
    "warning": apprise.NotifyType.WARNING,
    "info": apprise.NotifyType.INFO,
}


class ChatError(TransientError):
    """A service did not take a message. No text has its URL: who knows it can write."""

    default_code = "CHAT_UNAVAILABLE"


def send(url: str, message: Message, links: Sequence[Link], *, place: str) -> None:
    """Send a message to an apprise URL.

    Parameters
    ----------
    place
        Where the URL is written: it is not repeated in an error.

    Raises
    ------
    SecretError
        `ALERT_URL_MALFORMED`: apprise knows no service with such a URL.
    ChatError
        The service did not take it.
    """
    asset = apprise.AppriseAsset(app_id="Coffre", app_desc="Coffre", async_mode=False, storage_mode="memory")
    service = apprise.Apprise(asset=asset)
    said = _listen()
    if not service.add(url):
        raise malformed_url(place, "url: no service has such a URL")
    body = "\n".join([visible(message.text, breaks=True), *(f"{link.label}: {link.url}" for link in links)])
    kind = apprise.NotifyType.SUCCESS if message.is_over else _TYPES.get(message.severity, apprise.NotifyType.WARNING)
    title = visible(message.subject)
    taken = service.notify(title=title, body=body, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    if not taken:
        status = _STATUS.search("\n".join(said.lines))
        raise ChatError(
            f"The service of {place} did not take a message.",
            detail=f"It answered {status[1]}." if status else "It did not answer.",
            hint="It is tried again by itself, twice within some minutes; then it waits in the queue FailedEvents.",
        )


class _Said(logging.Handler):
    """Keeps what apprise logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _listen() -> _Said:
    """Keep apprise's own words, which can have a URL in them, out of the log: only a status is taken from them."""
    logger, said = logging.getLogger("apprise"), _Said()
    logger.propagate = False
    logger.handlers = [said]
    return said
