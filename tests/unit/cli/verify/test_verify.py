"""`coffre verify`: what is asked, what is shown, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.cli.conftest import BUCKET, Account, Coffre

from coffre.model.drill import Outcome
from coffre.model.drill_report import DrillReport
from coffre.model.freshness import Check, Checked, FreshReport, Settled
from coffre.model.kinds import TargetKind
from coffre.model.rotation import Amount, Problem
from coffre.model.verification import Damage, DamageReport, Examined, Level, VerificationReport
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.reports import DrillReports
from coffre_cli.commands.verify import drill

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
BACKUP, OTHER = "01K9X000000000000000000001", "01K9X000000000000000000002"


def fresh(**fields: Any) -> FreshReport:
    checks = (
        Check(check=Checked.BACKUP, target="shop", status="ok", last_backup=BACKUP, age_hours=3.25, limit_hours=28),
        Check(check=Checked.VERIFIED, target="shop", status="ok", limit_hours=192, text="No backup is verified yet."),
    )
    return FreshReport.model_validate({"status": 200, "checked_at": NOW, "checks": checks, **fields})


def report(**fields: Any) -> VerificationReport:
    told = {"id": "V", "level": "read", "target": "shop", "share": "1/30", "packs": Amount(objects=2, size_bytes=9)}
    return VerificationReport.model_validate({**told, "duration_ms": 1500, **fields})


def damage_of(backup_id: str) -> DamageReport:
    damages = [
        Damage(code="FRAME_DAMAGED", text=f"A stored frame is damaged. {number}", pack="P", entry="table:public.orders")
        for number in range(7)
    ]
    return DamageReport.on(backup_id, "shop", Level.READ, NOW, damages)


def answering(account: Account, *answers: FreshReport | VerificationReport) -> None:
    left = [answer.model_dump(mode="json") for answer in answers]
    account.play = lambda function, event: left.pop(0)


def asked(account: Account) -> list[tuple[str, Mapping[str, Any]]]:
    return account.invoked


def test_without_a_level_it_asks_whether_backups_are_recent(coffre: Coffre, account: Account) -> None:
    settled = Settled(id=OTHER, kind="backup", target="shop", status="FAILED")
    answering(account, fresh(settled=(settled,)))

    said = coffre("verify")

    assert asked(account) == [("safe-verify", {"level": "fresh"})]
    assert said.status == 0
    lines = said.out.splitlines()
    assert lines[1].split() == ["shop", "backup", "ok", BACKUP, "3.2", "h", "28", "h"]
    assert lines[3:] == [
        "No backup is verified yet.",
        f"The backup {OTHER} of shop had stopped without a result; it is FAILED now.",
    ]


def test_a_check_that_failed_is_a_failure_for_people_and_for_scripts(coffre: Coffre, account: Account) -> None:
    late = Check(check=Checked.BACKUP, target="shop", status="failed", text="There is no completed backup of shop.")
    found = fresh(status=500, checks=(late,))

    answering(account, found)
    said = coffre("verify", "--target", "shop")
    answering(account, found)
    for_scripts = coffre("verify", "--json")

    assert asked(account)[0] == ("safe-verify", {"level": "fresh", "target": "shop"})
    assert (said.status, for_scripts.status) == (1, 1)
    assert "There is no completed backup of shop." in said.out
    assert FreshReport.model_validate(for_scripts.json()) == found


def test_an_inventory_in_order_says_what_was_looked_for(coffre: Coffre, account: Account) -> None:
    answering(account, report(level="inventory", backups=3, checksums=1, checksums_not_kept=1, target=None))

    said = coffre("verify", "--level", "inventory", "--share", "0.5")

    assert asked(account) == [("safe-verify", {"level": "inventory", "share": 0.5})]
    assert said.status == 0
    assert said.out.splitlines() == [
        "Looked for 2 packs (9 B) of 3 backups in 1.5 s; compared the checksums of 1 (1/30).",
        "The store kept no checksum of 1 of them: only --level read can check those.",
        "Nothing is missing.",
    ]


def test_damage_is_shown_with_what_to_go_back_to_and_what_to_do(coffre: Coffre, account: Account) -> None:
    unreadable = Problem(code="WRONG_IDENTITY", target="shop", text="Backup X cannot be read.")
    healthy = {"shop": OTHER}
    answering(account, report(status=500, damaged=(damage_of(BACKUP),), problems=(unreadable,), healthy=healthy))

    said = coffre("verify", "--level", "read", "--target", "shop")

    assert asked(account) == [("safe-verify", {"level": "read", "target": "shop"})]
    assert said.status == 1
    lines = said.out.splitlines()
    assert lines[1:3] == [
        "Problem: Backup X cannot be read. [WRONG_IDENTITY]",
        f"Backup {BACKUP} of shop is DAMAGED:",
    ]
    assert lines[3] == "  A stored frame is damaged. 0 (table:public.orders) [FRAME_DAMAGED]"
    assert lines[8:] == [
        "  and 2 more",
        f"The newest good backup of shop: {OTHER}",
        "Later backups do not refer to damaged data. Take one now:",
        "  coffre backup database shop",
        "What a copy has as it was stored can be put back into the vault:",
        f"  coffre mend {BACKUP}",
    ]


def test_reading_goes_through_every_target(coffre: Coffre, account: Account) -> None:
    account.configure("shop", "blog")
    answering(account, report(), report(target="blog"))

    said = coffre("verify", "--level", "read", "--json")

    assert [event["target"] for _, event in asked(account)] == ["shop", "blog"]
    assert [one["target"] for one in said.json()] == ["shop", "blog"]
    assert (said.status, said.err) == (0, "")


def test_a_backup_that_one_invocation_cannot_read_is_read_by_several(coffre: Coffre, account: Account) -> None:
    backup = account.backup()
    part, end = (
        Examined(backup_id=backup.id, target="shop", outcome=outcome) for outcome in ("unfinished", "verified")
    )
    answering(account, report(share="all", examined=(part,)), report(share="all", examined=(end,)))

    said = coffre("verify", "latest")

    assert asked(account) == [("safe-verify", {"level": "read", "backup_id": backup.id})] * 2
    assert said.status == 0
    assert said.out.splitlines()[-1] == f"{backup.id}: verified"


def test_a_verification_that_stops_says_why_and_calls_no_backup_bad(coffre: Coffre, account: Account) -> None:
    account.play = lambda function, event: {"errorType": "StoreError", "errorMessage": "Refused. [STORE_DENIED]"}

    said = coffre("verify")

    assert (said.status, said.out) == (1, "")
    assert "This does not mean that a backup is damaged. [VERIFICATION_STOPPED]\n  Refused. [STORE_DENIED]" in said.err


def test_what_makes_no_sense_is_wrong_usage(coffre: Coffre, account: Account) -> None:
    for arguments in (("latest", "--level", "fresh"), ("--share", "2"), ("--level", "deep")):
        assert coffre("verify", *arguments).status == 2
    assert asked(account) == []


def test_the_level_drill_drills_the_newest_backup_of_each_database_and_shows_what_came_out(
    coffre: Coffre, account: Account
) -> None:
    account.configure("new", "shop")  # the first of which has no backup yet
    backup = account.backup()

    def play(function: str, event: Mapping[str, Any]) -> object:
        outcome = Outcome.FAILED if event["backup_id"] == backup.id else Outcome.PASSED
        DrillReports(S3Store(BUCKET, client=make_client())).write(drilled(event["backup_id"], outcome), "<page>")
        return {"outcome": outcome.value}

    account.play = play

    said = coffre("verify", "--level", "drill")
    for_scripts = coffre("verify", "--level", "drill", "latest", "--target", "shop", "--json")

    assert asked(account) == [("safe-drill", {"backup_id": backup.id})] * 2
    assert 'Not drilled: There is no completed backup of "new" yet.' in said.err
    assert (said.status, for_scripts.status) == (1, 1)
    assert "wrong     public.orders has other rows." in said.out
    assert [one["outcome"] for one in for_scripts.json()] == ["failed"]


def test_a_drill_of_several_invocations_is_waited_for(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = account.backup()
    reports = DrillReports(S3Store(BUCKET, client=make_client()))
    account.play = lambda function, event: {"outcome": "continues", "id": "01K9X00000000000000000000D", "invocation": 2}
    monkeypatch.setattr(drill, "_POLL_SECONDS", 0)
    monkeypatch.setattr(time, "sleep", lambda _: reports.write(drilled(backup.id, Outcome.PASSED), "<page>"))

    said = coffre("verify", "--level", "drill", "latest")

    assert said.status == 0, said.err
    assert "The drill takes several invocations" in said.err
    assert asked(account) == [("safe-drill", {"backup_id": backup.id})]


def test_a_drill_that_no_invocation_continues_is_reported_as_dead(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    account.backup()
    account.play = lambda function, event: {"outcome": "continues", "id": "01K9X00000000000000000000D", "invocation": 2}
    monkeypatch.setattr(drill, "_POLL_SECONDS", 0)
    monkeypatch.setattr(drill, "_LONGEST_INVOCATION_SECONDS", -1)

    said = coffre("verify", "--level", "drill", "latest")

    assert said.status == 1
    assert "[DRILL_DIED]" in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--here",), "are for --level drill"),
        (("--level", "read", "--scratch", "env:X"), "are for --level drill"),
        (("--level", "drill", "--postgres-home", "x"), "goes with --here"),
        (("--level", "drill", "latest", "--scratch", "env:UNSET"), "DESTINATION_SHAPE"),
    ],
)
def test_options_of_drills_that_do_not_fit_are_refused(
    coffre: Coffre, account: Account, arguments: tuple[str, ...], said: str
) -> None:
    account.backup()

    answer = coffre("verify", *arguments)

    assert answer.status in (1, 2)
    assert said in " ".join(answer.err.split())
    assert asked(account) == []


def test_the_level_drill_is_of_buckets_too(coffre: Coffre, account: Account) -> None:
    account.configure_buckets("uploads", "photos")
    newest = [account.backup(), account.backup(target="uploads", kind=TargetKind.BUCKET)]

    def play(function: str, event: Mapping[str, Any]) -> object:
        report = drilled(event["backup_id"], Outcome.PASSED)
        of = {backup.id: backup.target for backup in newest}
        report = report.model_copy(update={"target": of[report.backup_id]})
        DrillReports(S3Store(BUCKET, client=make_client())).write(report, "<page>")
        return {"outcome": "passed"}

    account.play = play

    assert coffre("verify", "--level", "drill").status == 0
    assert asked(account) == [("safe-drill", {"backup_id": backup.id}) for backup in newest]


def drilled(backup_id: str, outcome: Outcome) -> DrillReport:
    return DrillReport(
        id="01K9X00000000000000000000D",
        backup_id=backup_id,
        target="shop",
        outcome=outcome,
        backup_created_at=NOW,
        started_at=NOW,
        completed_at=NOW,
        coffre_version="1",
        problems=("public.orders has other rows.",) if outcome is Outcome.FAILED else (),
    )


# --- copies ---


def test_a_copy_is_looked_through_and_its_damage_has_a_cure(coffre: Coffre, account: Account) -> None:
    account.configure_copy("offsite")
    found = report(
        level="inventory", status=500, target=None, copy_name="offsite", stored=Amount(objects=3, size_bytes=5_000_000)
    ).model_copy(update={"damaged": (damage_of(BACKUP),), "healthy": {"shop": OTHER}})
    answering(account, found)

    said = coffre("verify", "--at", "offsite")

    assert said.status == 1
    assert asked(account) == [("safe-verify", {"level": "inventory", "at": "offsite"})]
    lines = said.out.splitlines()
    assert "The copy offsite holds 5.0 MB in 3 packs." in lines
    assert "  coffre rotate --at offsite" in lines
    assert f"  coffre copy {BACKUP} --to offsite" in lines
    assert f"The newest good backup of shop in the copy offsite: {OTHER}" in lines
    assert "coffre backup" not in said.out


def test_of_one_backup_in_a_copy_every_byte_is_read(coffre: Coffre, account: Account) -> None:
    account.configure_copy("offsite")
    backup = account.backup()
    answering(account, report(target=None, copy_name="offsite", share="all"))

    said = coffre("verify", backup.id, "--at", "offsite")

    assert said.status == 0
    assert asked(account) == [("safe-verify", {"level": "read", "at": "offsite", "backup_id": backup.id})]
    assert "Every byte that was read is as it was stored." in said.out


def test_a_copy_that_is_not_configured_or_a_level_that_it_has_not_is_refused(coffre: Coffre, account: Account) -> None:
    account.configure_copy("offsite")

    unknown = coffre("verify", "--at", "onsite")
    assert unknown.status == 1
    assert "offsite" in unknown.err
    level = coffre("verify", "--at", "offsite", "--level", "drill")
    assert level.status == 2
    assert account.invoked == []


def test_fresh_shows_each_copy(coffre: Coffre, account: Account) -> None:
    late = {"check": Checked.OFFSITE, "target": "shop", "status": "failed", "copy_name": "nas", "code": "COPY_EMPTY"}
    check = Check.model_validate({**late, "text": 'The copy "nas" has no good backup of shop.'})
    answering(account, fresh(status=500, checks=(check,)))

    said = coffre("verify")

    assert said.status == 1
    assert "offsite: nas" in said.out
    assert 'The copy "nas" has no good backup of shop.' in said.out
