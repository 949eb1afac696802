"""What a recovery says of backups that it passes over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ulid import ULID

from coffre.model.backup import Backup, Status, Tier
from coffre_cli.commands.recover.find_copies import unreadable

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)


def id_of(days_ago: int) -> str:
    return str(ULID.from_datetime(NOW - timedelta(days=days_ago)))


class Damaged:
    """A vault of which these backups have no manifest that can be read."""

    def __init__(self, *ids: str) -> None:
        self.ids = ids

    def unreadable(self, target: str) -> dict[str, tuple[str, str]]:
        return dict.fromkeys(self.ids, (target, "its manifest is damaged"))


def test_a_newer_backup_whose_manifest_cannot_be_read_is_named() -> None:
    older, newer, newest = id_of(3), id_of(2), id_of(1)
    catalog: Any = Damaged(older, newer, newest)
    begun = NOW - timedelta(days=2, hours=12)
    chosen = Backup(
        id=str(ULID.from_datetime(begun)),
        target="shop",
        tiers=(Tier.DAILY,),
        status=Status.COMPLETED,
        created_at=begun,
    )

    assert unreadable(catalog, "shop", chosen, None) == (
        f"{newest} was passed over: its manifest is damaged",
        f"{newer} was passed over: its manifest is damaged",
    )
    assert len(unreadable(catalog, "shop", chosen, NOW - timedelta(days=1, hours=12))) == 1
    assert len(unreadable(catalog, "shop", None, None)) == 3
