"""Which targets `coffre recover` asks a destination for."""

from __future__ import annotations

from datetime import UTC, datetime

from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.policy.recovery import CopyLook, Found
from coffre_cli.commands.recover.plan import Wanted, with_answers

NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


def found(kind: TargetKind) -> Found:
    backup = Backup(
        id="01K9X000000000000000000000",
        target="any",
        kind=kind,
        tiers=(Tier.DAILY,),
        status=Status.COMPLETED,
        created_at=NOON,
    )
    return Found(backup)


def test_settings_are_asked_no_destination() -> None:
    look = CopyLook("copy", {"shop": found(TargetKind.DATABASE), "settings": found(TargetKind.SETTINGS)})
    wanted = Wanted({"shop": "env:DESTINATION"}, {}, is_rehearsal=False, notify=None)

    assert with_answers(wanted, look) == wanted
