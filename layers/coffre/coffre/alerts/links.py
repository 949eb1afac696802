"""Links of a message: the runbook, and the log of the function that sent it."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.alerts.message import Message


@dataclass(frozen=True)
class Link:
    """One link, shown as a button."""

    label: str
    url: str


def links_of(message: Message, *, runbooks_url: str | None, region: str | None) -> list[Link]:
    """Return the links of a message. `runbooks_url` is the folder with the runbooks."""
    links = []
    if runbooks_url and message.runbook:
        links.append(Link("Runbook", f"{runbooks_url.rstrip('/')}/{message.runbook}"))
    # These partitions have consoles of their own.
    if message.function and region and not region.startswith(("cn-", "us-gov-", "us-iso", "eusc-")):
        console = f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        links.append(Link("Log", f"{console}#logsV2:log-groups/log-group/$252Faws$252Flambda$252F{message.function}"))
    return links
