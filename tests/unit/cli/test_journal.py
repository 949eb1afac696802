"""`coffre journal`: which moments can be restored, and what the function answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.cli.conftest import BUCKET, DATABASE, Account, Coffre

from coffre.model.journal import IntervalEnd, JournalEnd, JournalInterval, JournalState
from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.model.manifest import JournalBase
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.stores.store import put_small
from coffre.vault.journal import begin_interval, end_interval
from coffre.vault.layout import interval_end_key
from coffre.vault.vault import Vault

FIRST, SECOND = "01KB3M7Q0000000000000000A1", "01KB3M7Q0000000000000000A2"
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=6)
HOUR = timedelta(hours=1)
DRAINED = {
    "target": "shop",
    "transactions": 3,
    "stored_bytes": 1234,
    "seen_at": "2026-11-27T12:00:00+00:00",
    "is_complete": True,
    "begun": [],
    "ended": [],
    "notes": [],
}


def interval(name: str, fingerprint: str, from_lsn: int) -> JournalInterval:
    return JournalInterval(
        id=name,
        target="shop",
        database="shop",
        slot="coffre_shop_01234567",
        plugin="test_decoding",
        system=None,
        timeline=1,
        from_lsn=from_lsn,
        started_at=BEGAN,
        fingerprint=fingerprint * 64,
        definitions=(),
    )


def test_the_moments_between_backups_are_listed_and_why_there_are_no_others(coffre: Coffre, account: Account) -> None:
    said = coffre("journal", "list")
    assert (said.status, said.out) == (
        0,
        "No target has a journal. docs/point-in-time.md says how one is switched on.\n",
    )
    assert "has no journal" in coffre("journal", "list", "shop").out
    account.configure_journal("shop")
    said = coffre("journal", "list", "shop")
    assert "it has not begun yet: the next drain makes its slot" in said.out
    assert "Nothing is stored yet: no moment can be restored." in said.out

    account.configure("shop")

    # Given an interval with a base, which has ended, and another one that waits for its base
    vault = Vault(S3Store(BUCKET, client=make_client()))
    begin_interval(vault, interval(FIRST, "a", 100))
    base = JournalBase(snapshot="1:1:", before_lsn=110, lsn=120, at=BEGAN + HOUR, fingerprint="a" * 64)
    backup = account.backup(content=DATABASE.model_copy(update={"journal": base}))
    end_interval(
        vault,
        "shop",
        FIRST,
        IntervalEnd(
            reason=JournalEnd.DEFINITIONS,
            stored_lsn=200,
            seen_at=BEGAN + 3 * HOUR,
            ended_at=BEGAN + 3 * HOUR,
            text="Definitions have changed: public.orders.",
        ),
    )
    begin_interval(vault, interval(SECOND, "b", 200))
    state = JournalState(
        target="shop",
        slot="coffre_shop_01234567",
        interval=SECOND,
        seen_at=BEGAN + 4 * HOUR,
        drained_at=BEGAN + 4 * HOUR,
        retained_bytes=2_500_000,
        base_wanted_at=BEGAN + 3 * HOUR,
    )
    seen = account.catalog.journals.keep(state, None)

    # Then both are shown, for people and for scripts
    assert "switched off: the next tick drops its slot" in " ".join(coffre("journal", "list", "shop").out.split())
    account.configure_journal("shop")
    said = coffre("journal", "list")
    assert "nothing was stored since" in " ".join(said.out.split()), "the newest moment is two hours old"
    account.catalog.journals.keep(state.model_copy(update={"seen_at": datetime.now(UTC)}), seen)
    said = coffre("journal", "list")
    assert "it waits for a base since" in " ".join(said.out.split())
    assert "2.5 MB" in said.out
    said = coffre("journal", "list", "shop")
    assert "coffre_shop_01234567" in said.out
    assert "Definitions have changed" in " ".join(said.out.split())
    at = f"{BEGAN + 3 * HOUR:%Y-%m-%d %H:%M:%S}"
    assert f'coffre restore database latest --target shop --to env:NEW --at "{at}"' in said.out
    found = coffre("journal", "list", "shop", "--json").json()
    second, first = found["intervals"]
    assert (first["restorable_from"], first["restorable_to"]) == (
        (BEGAN + HOUR).isoformat(),
        (BEGAN + 3 * HOUR).isoformat(),
    )
    assert (first["bases"], first["end"]["reason"]) == ([backup.id], "definitions")
    assert (second["id"], second["restorable_from"], second["bases"]) == (SECOND, None, [])
    assert found["proofs"] == []

    # And what drills have proven of them
    proof = JournalProof(
        verdict=ProofVerdict.EQUAL,
        target="shop",
        drill_id="D1",
        proven_at=BEGAN,
        newer=backup.id,
        until=BEGAN + HOUR,
        interval=FIRST,
        older="B1",
        since=BEGAN,
        tables=5,
    )
    account.catalog.journal_proofs.note(proof)
    doubtful = {
        "verdict": ProofVerdict.NOT_EQUAL,
        "drill_id": "D2",
        "interval": SECOND,
        "differences": ("public.a: 1.",),
    }
    account.catalog.journal_proofs.note(proof.model_copy(update=doubtful))
    said = coffre("journal", "list", "shop")
    assert "NOT EQUAL somewhere from" in said.out
    assert "public.a: 1." in said.out
    assert said.out.count("DOUBTFUL") == 1
    assert said.out.count(f"{BEGAN + HOUR:%H:%M:%S}") > 1  # also the begin of its moments
    proofs = coffre("journal", "list", "shop", "--json").json()["proofs"]
    assert [one["verdict"] for one in proofs] == ["not_equal", "equal"]
    assert coffre("journal", "list", "--json").json()[0]["state"]["interval"] == SECOND


def test_where_records_are_damaged_it_is_not_said_that_a_base_is_missing(coffre: Coffre, account: Account) -> None:
    account.configure_journal("shop")
    vault = Vault(S3Store(BUCKET, client=make_client()))
    begin_interval(vault, interval(FIRST, "a", 100))
    put_small(vault.store, interval_end_key("shop", FIRST), b"1")

    said = coffre("journal", "list", "shop")
    assert "the record of its end is damaged" in " ".join(said.out.split())
    assert "No moment can be restored: what is stored of the journal is damaged" in " ".join(said.out.split())
    assert "the base" not in said.out


@pytest.mark.parametrize(
    ("command", "answer", "status", "words"),
    [
        (("drain",), DRAINED, 0, "3 transactions, 1,234 bytes stored"),
        (("drain",), {**DRAINED, "is_complete": False, "notes": ["Wait."]}, 1, "the next drain continues"),
        (("drain",), {**DRAINED, "begun": [SECOND], "ended": [{"reason": "gap", "text": "Lost."}]}, 0, "Lost."),
        (("drain",), {"target": "shop", "waits": "JOURNAL_WAITS", "message": "Open.", "hint": "End it."}, 1, "Open."),
    ],
)
def test_a_journal_is_drained_by_the_function(
    coffre: Coffre, account: Account, command: tuple[str, ...], answer: object, status: int, words: str
) -> None:
    account.play = lambda function, event: answer

    said = coffre("journal", *command, "shop")
    assert said.status == status
    assert words in said.out
    assert account.invoked == [("safe-journal", {"target": "shop"})]
    assert coffre("journal", *command, "shop", "--json").json() == answer


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ({"dropped": True}, 0, "The slot of shop is dropped."),
        ({"dropped": False}, 0, "shop had no slot."),
        ({"dropped": False, "left": "coffre_shop_1"}, 1, "The slot coffre_shop_1 of shop is left"),
        ({"waits": "JOURNAL_SLOT_BUSY", "message": "In use."}, 1, "In use. [JOURNAL_SLOT_BUSY]"),
    ],
)
def test_the_slot_of_a_journal_that_is_configured_no_more_is_dropped(
    coffre: Coffre, account: Account, answer: dict[str, object], status: int, words: str
) -> None:
    account.play = lambda function, event: {"target": "shop", **answer}

    said = coffre("journal", "off", "shop")
    assert said.status == status
    assert words in said.out
    assert account.invoked == [("safe-journal", {"target": "shop", "off": True})]
    assert ("pg_drop_replication_slot" in said.out + said.err) is (status == 1)
    assert coffre("journal", "off", "shop", "--json").json().items() >= answer.items()
