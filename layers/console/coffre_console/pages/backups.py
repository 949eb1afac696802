"""The list of backups: its filters and its place are in the address."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.kinds import Status, TargetKind
from coffre.model.target import TARGET_NAME
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import ULID_PATTERN
from coffre_console.pages.fields import day_of, one_of, refuse_unlike
from coffre_console.pages.show import known_fields, show
from coffre_console.reading.backups import PAGE_SIZE, Filter, list_backups
from coffre_console.routing import Routes, Visit

FIELDS: Final = ("target", "type", "status", "since", "until", "cursor")


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/backups")
    def backups() -> Answer[str]:
        visit = routes.visit
        sent = known_fields(visit.request.query, FIELDS)
        wanted = _filter(visit, sent)
        page = list_backups(visit.source, wanted, size=PAGE_SIZE, cursor=sent["cursor"] or None, may=visit.may())
        may = visit.may()
        return show(
            visit,
            "backups",
            command=_command(sent),
            sent=sent,
            page=page,
            targets=[one.name for one in visit.source.configuration().targets if may(one.name)],
            statuses=list(Status),
            kinds=list(TargetKind),
            is_filtered=any(sent[name] for name in FIELDS if name != "cursor"),
        )


def _filter(visit: Visit, sent: dict[str, str]) -> Filter:
    """Read the filter; raises ProblemError, naming the field, for a value that it cannot have."""
    if sent["target"]:
        refuse_unlike("target", sent["target"], TARGET_NAME, "the name of a target")
        visit.demand(Permission.READ, sent["target"])
    if sent["cursor"]:
        refuse_unlike("cursor", sent["cursor"], ULID_PATTERN, "the end of the page before")
    until = day_of("until", sent["until"])
    return Filter(
        target=sent["target"] or None,
        kind=one_of(TargetKind, "type", sent["type"]),
        status=one_of(Status, "status", sent["status"]),
        since=day_of("since", sent["since"]),
        until=until + timedelta(days=1) if until is not None else None,
    )


def _command(sent: dict[str, str]) -> str:
    """Return the command for a filter. It has no end of a period: it lists until now."""
    words = {TargetKind.BUCKET.value: "buckets", TargetKind.REPOSITORY.value: "repositories"}
    parts = ["coffre list", sent["target"]]
    parts += [f"--type {words.get(sent['type'], sent['type'])}"] if sent["type"] else []
    parts += [f"--status {sent['status'].lower()}"] if sent["status"] else []
    parts += [f"--since {sent['since']}"] if sent["since"] else []
    return " ".join(filter(None, parts))
