"""The texts of alerts about the databases of servers: found, gone, or impossible to name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from coffre.alerts.alert import Alert, AlertKind, digest_of
from coffre.alerts.wording import alert_of, body_of, bullets
from coffre.model.names import visible
from coffre.model.server import SeenDatabase


def databases_found(server: str, found: Sequence[SeenDatabase]) -> Alert:
    """Report databases that are backed up from now on."""
    return alert_of(
        AlertKind.DATABASE_FOUND,
        server,
        f"{_counted(found)} found on {server}: backed up from now on",
        body_of(
            "\n".join([f'New on the server "{server}", and backed up from now on:', *bullets(_lines(found))]),
            hint="Nothing, if they should be backed up. To leave some out: databases.exclude of this server "
            "(docs/databases.md).",
            commands=[f"coffre list {found[0].name}"],
        ),
        fingerprint=digest_of(*(f"{one.name} {one.gone_since or one.found_at}" for one in found)),
    )


def databases_gone(
    server: str, dropped: Sequence[SeenDatabase], left_out: Sequence[SeenDatabase], safe: Mapping[str, str]
) -> Alert:
    """Report databases that are not backed up any more.

    `dropped` exist no more; `safe` says of each which backup can be restored. `left_out` exist, and are excluded or
    take no connections.
    """
    lines = []
    if dropped:
        lines += [f'Dropped from the server "{server}":', *bullets([*_with_safe(dropped, safe)])]
    if left_out:
        what = f'On the server "{server}", but excluded by `databases`, or not taking connections any more:'
        lines += [what, *bullets(_lines(left_out))]
    gone = [*dropped, *left_out]
    return alert_of(
        AlertKind.DATABASE_GONE,
        server,
        f"{_counted(gone)} gone from {server}: not backed up any more",
        body_of(
            "\n".join(lines),
            hint="Nothing, if that was intended. Their backups stay as long as retention keeps them, the newest for "
            "ever. If a database was dropped by mistake, restore its newest backup.",
            commands=[f"coffre list {gone[0].name}"],
        ),
        fingerprint=digest_of(*(f"{one.name} {one.gone_since}" for one in gone)),
    )


def names_unreadable(server: str, names: Sequence[str]) -> Alert:
    """Report databases that cannot be backed up, because their names are no text."""
    return alert_of(
        AlertKind.BACKUP_FAILED,
        server,
        f"{len(names)} databases of {server} cannot be backed up: names that are no UTF-8",
        body_of(
            "\n".join([f'The names of these databases of "{server}" are no UTF-8:', *bullets(names)]),
            safe="All other databases of the server are backed up.",
            hint="Rename them (ALTER DATABASE ... RENAME TO ...) from a session that has their encoding.",
            commands=["coffre list"],
        ),
        fingerprint="DATABASE_NAME_UNREADABLE",
    )


def _counted(databases: Sequence[SeenDatabase]) -> str:
    return "1 database" if len(databases) == 1 else f"{len(databases)} databases"


def _lines(databases: Sequence[SeenDatabase]) -> list[str]:
    return [f'"{visible(one.database)}", as the target {one.name}' for one in databases]


def _with_safe(databases: Sequence[SeenDatabase], safe: Mapping[str, str]) -> list[str]:
    named = zip(_lines(databases), databases, strict=True)
    return [f"{line}. {safe.get(one.name, '').replace(chr(10), ' ')}" for line, one in named]
