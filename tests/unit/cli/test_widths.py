"""What the everyday commands print at 60, 80 and 120 columns: snapshots of plans, results, findings and errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import pytest
from tests import snapshots
from tests.unit.cli.conftest import Account, Coffre
from tests.unit.cli.planning import answer_to, is_planned, plan_of

from coffre.model.backup import Failure, Status
from coffre.model.checkup import CheckResult, Checkup, Severity, State
from coffre.model.restore_report import Comparison, Kept

_ID: Final = re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b")
_AGE: Final = re.compile(r"\d+ (?:s|min|h|d) ago")
COMPARED: Final = Comparison(
    table="public.orders_of_2026",
    beside="restored_x.orders_of_2026",
    missing=28,
    changed=1_234_567,
    same=12_345_678,
    extra=3,
    columns=("price", "total"),
)
KEPT: Final = Kept(what="the schema restored_x", remove='DROP SCHEMA "restored_x" CASCADE')
EXCEPTION: Final = (
    "Not restored: the validation of the foreign key public.points points_kind_fkey: rows violate it (insert or update "
    'on table "points" violates foreign key constraint "points_kind_fkey" (SQLSTATE 23503)).'
)
REFUSED: Final = Failure(
    code="DESTINATION_NOT_EMPTY",
    message="The database copy is not empty: it has 12 tables.",
    hint="Nothing was changed. Name a database that does not exist yet, or one without tables.",
)
FOUND: Final = CheckResult(
    code="ROLE_CANNOT_READ",
    severity=Severity.BLOCKER,
    state=State.FINDING,
    sentence='The role "backup" may not read 2 tables: the backup fails.',
    evidence="public.orders, public.customers",
    cure='GRANT pg_read_all_data TO "backup";',
    docs="docs/doctor.md#role_cannot_read",
)
UNSEEN: Final = FOUND.model_copy(
    update={"state": State.COULD_NOT_LOOK, "code": "SIZE_WINDOW", "sentence": "No earlier backup says how fast it is."}
)


def restored(account: Account, **report: Any) -> None:
    """Play a restore with this report."""

    def play(function: str, event: Mapping[str, Any]) -> object:
        plan = plan_of(event) if is_planned(event) else None
        ids = {"id": event["restore_id"], "backup_id": event["backup_id"]}
        said = {"dry_run": bool(event.get("dry_run")), "plan": plan, **report}
        account.restore(**ids, dry_run=said["dry_run"], exceptions=report.get("exceptions", ()), report=said)
        return answer_to(account, plan) if plan else None

    account.play = play


def failed(account: Account) -> None:
    account.play = lambda function, event: (
        account.restore(Status.FAILED, id=event["restore_id"], backup_id=event["backup_id"], failure=REFUSED) and None
    )


def looked_at(account: Account) -> None:
    account.play = lambda function, event: Checkup(
        at=account.backup().created_at, target=event["target"], results=(FOUND, UNSEEN)
    ).model_dump(mode="json")


SCENES: Final[dict[str, tuple[Callable[[Account], None], str]]] = {
    "restore-tables": (
        lambda account: restored(account, comparisons=(COMPARED,), kept=(KEPT,)),
        "restore tables latest orders_of_2026",
    ),
    "restore-plan": (
        lambda account: restored(account, steps=("Make the rows of public.orders_of_2026 those of the backup.",)),
        "restore tables latest orders_of_2026 --replace --dry-run",
    ),
    "restore-exceptions": (
        lambda account: restored(account, exceptions=(EXCEPTION,), script="ALTER TABLE ...;"),
        "restore database latest --to postgresql://me:pw@db.example:5433/copy",
    ),
    "restore-refused": (failed, "restore database latest --to postgresql://me:pw@db.example:5433/copy"),
    "doctor": (looked_at, "doctor shop"),
    "unknown-target": (lambda account: None, "list nosuch"),
}


@pytest.mark.parametrize("width", snapshots.WIDTHS)
@pytest.mark.parametrize("name", SCENES)
def test_messages_can_be_read_at_every_width(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    prepare, command = SCENES[name]
    account.backup()
    prepare(account)
    snapshots.at_terminal(monkeypatch, width)
    monkeypatch.setenv("COLUMNS", str(width))

    said = coffre(*command.split())

    text = _AGE.sub(
        "1 d ago", _ID.sub("01K9X0000000000000000000ID", f"{said.out}{said.err}exit status {said.status}\n")
    )
    assert "\x1b[" not in re.sub(r"\x1b\[(?:\?25[hl]|2K|1A|K)", "", text)
    snapshots.compare(name, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", text), width=width)
