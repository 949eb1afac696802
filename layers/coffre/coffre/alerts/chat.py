"""Messages to any service that apprise supports.

Only `notify` imports this module, and late: apprise takes seconds to import, and needs a layer of its own.
"""

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
    """A service did not accept a message. No text has its URL: anyone who knows it can write to the channel."""

    default_code = "CHAT_UNAVAILABLE"


def send(url: str, message: Message, links: Sequence[Link], *, place: str) -> None:
    """Send a message to an apprise URL.

    Parameters
    ----------
    place
        Where the URL is configured. Errors name this place, never the URL itself.

    Raises
    ------
    SecretError
        `ALERT_URL_MALFORMED`: apprise knows no service with such a URL.
    ChatError
        The service did not accept it.
    """
    asset = apprise.AppriseAsset(app_id="Coffre", app_desc="Coffre", async_mode=False, storage_mode="memory")
    service = apprise.Apprise(asset=asset)
    log = _listen()
    if not service.add(url):
        raise malformed_url(place, "url: apprise knows no service with such a URL")
    body = "\n".join([visible(message.text, breaks=True), *(f"{link.label}: {link.url}" for link in links)])
    kind = apprise.NotifyType.SUCCESS if message.is_over else _TYPES.get(message.severity, apprise.NotifyType.WARNING)
    title = visible(message.subject)
    taken = service.notify(title=title, body=body, notify_type=kind, body_format=apprise.NotifyFormat.TEXT)
    if not taken:
        status = _STATUS.search("\n".join(log.lines))
        raise ChatError(
            f"The service of {place} did not accept a message.",
            detail=f"It answered {status[1]}." if status else "It did not answer.",
            hint="Lambda tries again twice within a few minutes; after that the message is in the queue FailedEvents.",
        )


class _Log(logging.Handler):
    """Keeps what apprise logs."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def _listen() -> _Log:
    """Keep apprise's messages out of the log: they can contain a URL. Only a status is taken from them."""
    logger, log = logging.getLogger("apprise"), _Log()
    logger.propagate = False
    logger.handlers = [log]
    return log
