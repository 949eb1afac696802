"""Destinations of alerts besides the topic's own subscribers: the secret with URLs, and which alerts each URL gets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from coffre.alerts.alert import AlertKind, Severity, State
from coffre.alerts.message import Message
from coffre.model.document import Document, describe_validation, parse_json
from coffre.model.errors import SecretError

_HINT: Final = (
    "One URL a line, or a JSON list of URLs and of objects with url, kinds, severities, targets, states, format; "
    "docs/alerts.md shows both."
)
# An incoming webhook of Slack, as Slack gives it and as apprise writes it.
_SLACK_WEBHOOK: Final = re.compile(r"https://hooks\.slack(?:-gov)?\.com/services/\S+")
_SLACK_APPRISE: Final = re.compile(r"slack://(?:[^@/]+@)?(T[A-Z0-9]+)/([A-Z0-9]+)/([A-Za-z0-9]+)/?")
_LOOKS_LIKE_A_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")

Url = Annotated[str, Field(min_length=1, max_length=4000, pattern=_LOOKS_LIKE_A_URL.pattern, repr=False)]


class AlertDestination(Document):
    """One URL, and which alerts it gets: those that match every list that is not empty.

    `format` is `slack` when the URL accepts Slack's message format but is not recognized as a Slack URL.
    """

    url: Url
    kinds: tuple[AlertKind, ...] = ()
    severities: tuple[Severity, ...] = ()
    targets: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    format: Literal["slack"] | None = None

    def wants(self, message: Message) -> bool:
        """Tell whether this destination gets a message. One that is not Coffre's goes where no list excludes it."""
        asked = (
            (self.kinds, message.kind),
            (self.severities, message.severity),
            (self.targets, message.target),
            (self.states, message.state),
        )
        return all(value in wanted for wanted, value in asked if wanted)

    @property
    def slack_webhook(self) -> str | None:
        """The address that accepts Slack's message format, if this is one."""
        if self.format == "slack" or _SLACK_WEBHOOK.fullmatch(self.url):
            return self.url
        if found := _SLACK_APPRISE.fullmatch(self.url):
            return f"https://hooks.slack.com/services/{'/'.join(found.groups())}"
        return None


@dataclass(frozen=True)
class DestinationEntry:
    """One entry of the secret. Messages name its place: `line 3 of the secret ...`."""

    place: str
    value: AlertDestination | SecretError

    def destination(self) -> AlertDestination:
        """Return it, or raise what is wrong with it (`ALERT_URL_MALFORMED`)."""
        if isinstance(self.value, SecretError):
            raise self.value
        return self.value

    def wants(self, message: Message) -> bool:
        """Tell whether this entry gets a message. An invalid entry gets each, and so reports its error."""
        return isinstance(self.value, SecretError) or self.value.wants(message)


def parse_destinations(text: str, *, where: str) -> dict[int, DestinationEntry]:
    """Parse the secret with URLs.

    Parameters
    ----------
    where
        The secret's name, for messages.

    Returns
    -------
    dict[int, DestinationEntry]
        By line (or by place in the JSON list, from 1). An invalid entry does not affect the others.

    Raises
    ------
    SecretError
        `ALERT_URLS_INVALID`: the text begins like JSON and is not, or has no URL.
    """
    entries = _of_json(text, where) if text.lstrip().startswith("[") else _of_lines(text)
    if not entries:
        raise SecretError(f"The secret {where} has no URL.", code="ALERT_URLS_INVALID", hint=_HINT)
    place = "entry" if text.lstrip().startswith("[") else "line"
    places = {number: f"{place} {number} of the secret {where}" for number in entries}
    return {
        number: DestinationEntry(places[number], _destination(entry, places[number]))
        for number, entry in entries.items()
    }


def _of_lines(text: str) -> dict[int, object]:
    lines = {number: line.strip() for number, line in enumerate(text.splitlines(), start=1)}
    return {number: {"url": line} for number, line in lines.items() if line and not line.startswith("#")}


def _of_json(text: str, where: str) -> dict[int, object]:
    try:
        entries: list[Any] = parse_json(text)
    except json.JSONDecodeError as error:
        raise SecretError(
            f"The secret {where} begins like a JSON list, but is not one.",
            code="ALERT_URLS_INVALID",
            detail=f"line {error.lineno}, column {error.colno}: {error.msg}",
            hint=_HINT,
        ) from None  # the decoder's error holds the whole text
    numbered = enumerate(entries, start=1)
    return {number: {"url": entry} if isinstance(entry, str) else entry for number, entry in numbered}


def _destination(entry: object, place: str) -> AlertDestination | SecretError:
    if not isinstance(entry, Mapping):
        return malformed_url(place, "it must be a URL or an object")
    try:
        return AlertDestination.model_validate(dict(entry))
    except ValidationError as error:
        lines = describe_validation(error)
        return malformed_url(place, "; ".join("url: not a URL" if "url:" in line else line for line in lines))


def malformed_url(place: str, detail: str) -> SecretError:
    """Return the error for an invalid URL. It names the `place`, because an error must not contain the URL."""
    sentence = f"{place[0].upper()}{place[1:]} cannot be used."
    return SecretError(sentence, code="ALERT_URL_MALFORMED", detail=detail, hint=_HINT)
