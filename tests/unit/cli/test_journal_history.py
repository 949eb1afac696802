"""`coffre journal log` and `find-drop`: what a stored journal says of rows, read with the private key."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from tests.unit.cli.conftest import BUCKET, DATABASE, Account, Coffre
from tests.unit.cli.test_journal import BEGAN, FIRST, HOUR, SECOND, interval

from coffre.model.backup import Backup
from coffre.model.journal import IntervalEnd, JournalEnd, JournalSegment
from coffre.model.journal_lines import pieces_of
from coffre.model.manifest import JournalBase
from coffre.postgres.journal.definitions import Column, Definitions, Table
from coffre.postgres.journal.definitions_document import definitions_document
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault import journal, journal_packs
from coffre.vault.codec import FrameEncoder, new_identity, public_key
from coffre.vault.layout import interval_end_key, interval_key, journal_prefix
from coffre.vault.vault import Vault

KEY = new_identity()
ORDERS, LINES, PARENT, BARE = ("public", "orders"), ("public", "Order Lines"), ("public", "parent"), ("old", "orders")
type Line = tuple[int, int, str]


def table(name: tuple[str, str], *key: str, kind: str = "r") -> Table:
    columns = tuple(Column(n, one, "pg_catalog.int4", -1, "", "", 1) for n, one in enumerate(key, 1))
    return Table(1, name, kind, 1, 1, "d", key, False, columns)


def transaction(xid: int, commit_lsn: int, time: datetime, *changes: str) -> list[Line]:
    lines = [f"BEGIN {xid}", *(f"table {one}" for one in changes), f"COMMIT {xid} (at {time:%Y-%m-%d %H:%M:%S.%f}+00)"]
    return [(commit_lsn if text.startswith("COMMIT") else commit_lsn - 5, xid, text) for text in lines]


def store(vault: Vault, name: str, print_: str, tables: Sequence[Table], *segments: tuple[int, list[Line]]) -> None:
    """Leave an interval: its definitions, and segments up to these positions, the first from 100 on."""
    encoder, document = FrameEncoder([public_key(KEY)]), {one.name: one for one in tables}
    definitions = definitions_document(Definitions(document, frozenset({("public", "sums")}), {}))
    begun = interval(name, print_, 100).model_copy(
        update={
            "recipients": (public_key(KEY),),
            "definitions": journal_packs.store_definitions(vault, "shop", name, encoder, definitions),
        }
    )
    previous, position = journal.begin_interval(vault, begun), 100
    for number, (to_lsn, lines) in enumerate(segments, 1):
        stored = journal_packs.store_lines(vault, "shop", name, number, encoder, pieces_of(lines))
        segment = JournalSegment(
            interval=name,
            number=number,
            previous=previous,
            from_lsn=position,
            to_lsn=to_lsn,
            seen_at=BEGAN + number * HOUR,
            is_complete=True,
            transactions=1,
            lines=len(lines),
            size=stored.size,
            frames=stored.frames,
            packs=stored.packs,
        )
        previous, position = journal.commit_segment(vault, "shop", segment), to_lsn


@pytest.fixture
def base(account: Account, monkeypatch: pytest.MonkeyPatch) -> Backup:
    """The base of a journal of two intervals; the second one has none."""
    monkeypatch.setenv("KEY", KEY)
    at = BEGAN + HOUR
    repeated = transaction(
        11,
        200,
        at + timedelta(minutes=1),
        "public.orders: UPDATE: old-key: id[integer]:7 new-tuple: id[integer]:8"
        " note[text]:unchanged-toast-datum paid[text]:null",
    )
    first = transaction(10, 150, at, "public.orders: INSERT: id[integer]:7 note[text]:'it''s\n[red]' paid[text]:'no'")
    deletes = [f"public.orders: DELETE: id[integer]:{number}" for number in (8, 9, 10)]
    second = [
        *repeated,
        *transaction(12, 250, at + timedelta(minutes=2), *deletes, "public.sums: DELETE: id[integer]:1"),
        *transaction(13, 300, at + timedelta(minutes=3), 'public."Order Lines", public.orders: TRUNCATE: (no-flags)'),
        *transaction(14, 350, at + timedelta(minutes=4), "public.orders: DELETE: id[integer]:11"),
        *transaction(15, 380, at + timedelta(minutes=5), *(f'public."Order Lines": DELETE: a[integer]:{n} b[integer]:1'
                                                            " note[text]:': DELETE: public.orders'" for n in (1, 2))),
    ]  # fmt: skip
    vault = Vault(S3Store(BUCKET, client=make_client()))
    tables = [table(ORDERS, "id"), table(LINES, "a", "b"), table(PARENT, kind="p")]
    store(vault, FIRST, "a", tables, (200, [*first, *repeated]), (400, second))
    ended = IntervalEnd(
        reason=JournalEnd.DEFINITIONS,
        stored_lsn=410,
        seen_at=BEGAN + 2 * HOUR,
        ended_at=BEGAN + 2 * HOUR,
        text="Definitions have changed: public.orders.",
    )
    journal.end_interval(vault, "shop", FIRST, ended)
    lost = transaction(
        20, 150, BEGAN + 3 * HOUR, "public.parent: DELETE: a[integer]:1", "old.orders: TRUNCATE: cascade"
    )
    store(vault, SECOND, "b", [table(BARE)], (200, lost))
    point = JournalBase(snapshot="1:1:", before_lsn=110, lsn=120, at=BEGAN + HOUR, fingerprint="a" * 64)
    return account.backup(content=DATABASE.model_copy(update={"journal": point}))


def test_what_happened_to_a_row_is_shown_with_its_transactions(coffre: Coffre, account: Account, base: Backup) -> None:
    log = ("journal", "log", "shop", "--identity", "env:KEY", "--table")

    # A repeated transaction is shown once, values cannot forge a line, and an UPDATE of the key is of both keys
    said = coffre(*log, "public.orders", "--key", "7")
    assert (said.status, said.err) == (0, "")
    insert, update, truncate = said.out.splitlines()
    assert insert.endswith(r"10 0/96 INSERT id='7' note='it''s\n[red]' paid='no'")
    assert update.endswith("11 0/C8 UPDATE id='8' note=(unchanged) paid=NULL was id='7'")
    assert truncate.endswith("13 0/12C TRUNCATE")
    read = next(account.catalog.audit.events("shop"))
    assert (read.action, read.detail) == ("backup.read", "journal of public.orders")

    operations = [one["operation"] for one in coffre(*log, "public.orders", "--json").json()]
    assert operations == ["insert", "update", "delete", "delete", "delete", "truncate", "delete"]
    since, until = (BEGAN + HOUR + timedelta(minutes=minutes) for minutes in (1, 2))
    period = ("--since", since.isoformat(), "--until", until.isoformat())
    changed, deleted = coffre(*log, "public.orders", "--key", 8, *period, "--json").json()
    assert changed == {
        "time": since.isoformat(),
        "transaction": 11,
        "lsn": "0/C8",
        "operation": "update",
        "old": {"id": "7"},
        "new": {"id": "8", "paid": None},
        "unchanged": ["note"],
        "interval": FIRST,
    }
    assert (deleted["old"], deleted["new"], deleted["transaction"]) == ({"id": "8"}, None, 12)
    assert len(coffre(*log, "Order Lines", "--key", 2, "--key", 1, "--json").json()) == 2  # a DELETE, the TRUNCATE
    assert coffre(*log, "old.orders").out.endswith("20 0/96 TRUNCATE\n")

    # The same without the stack
    outside = (
        "--vault",
        f"s3://{BUCKET}",
        "--identity",
        "env:KEY",
        "journal",
        "log",
        "shop",
        "--table",
        "public.orders",
    )
    assert coffre(*outside, "--json").json()[1] == changed
    nothing = coffre(*log, "public.orders", "--key", "99", *period)
    assert (nothing.status, nothing.out) == (1, "")
    assert coffre(*log, "public.orders", "--key", "99", *period, "--json").json() == []


REFUSED = (
    (("orders",), 1, 'has 2 tables "orders"'),
    (("nope",), 1, 'has no table "nope"'),
    (("parent",), 1, "is partitioned"),
    (("public.orders", "--key", "1", "--key", "2"), 1, r"has the key \(id\): 2 values"),
    (("old.orders", "--key", "1"), 1, "has no key"),
    (("public.orders", "--since", "1h", "--until", "2h"), 2, "is before --since"),
    (("public.orders", "--until", "soon"), 2, "--until soon is neither"),
)


def test_a_log_that_cannot_be_shown_says_why(coffre: Coffre, base: Backup) -> None:
    for arguments, status, words in REFUSED:
        said = coffre("journal", "log", "shop", "--identity", "env:KEY", "--table", *arguments)
        assert (said.status, said.out) == (status, "")
        assert re.search(words, re.sub(r"[\s│]+", " ", said.err)), words


def test_what_lost_data_is_found_with_the_command_that_restores_it(
    coffre: Coffre, account: Account, base: Backup
) -> None:
    find = ("journal", "find-drop", "shop", "--identity", "env:KEY")

    # Rows of views and single deletes are no losses; a moment without a base has no command
    delete, truncate, small, drop, lost = coffre(*find, "--json").json()
    assert (delete["kind"], delete["tables"]) == ("delete", [{"table": "public.orders", "rows": 3}])
    assert delete["command"] == f"coffre restore database {base.id} --to env:NEW --at-lsn 0/F9"
    assert delete["tables_command"] == f"coffre restore tables {base.id} public.orders --at-lsn 0/F9"
    tables = [one["table"] for one in truncate["tables"]]
    assert (truncate["transaction"], tables) == (13, ['public."Order Lines"', "public.orders"])
    assert small["tables"] == [{"table": 'public."Order Lines"', "rows": 2}]
    assert (drop["kind"], drop["before_lsn"], drop["text"]) == (
        "definitions",
        "0/19A",
        "Definitions have changed: public.orders.",
    )
    assert (lost["transaction"], lost["backup_id"], lost["command"]) == (20, None, None)
    assert "'public.\"Order Lines\"' public.orders --at-lsn" in truncate["tables_command"]
    assert (drop["tables_command"], lost["tables_command"]) == (None, None)

    said = coffre(*find, "--most", 1)
    assert "3 rows deleted from public.orders (3) by transaction 12" in said.out
    assert "transaction 15" not in said.out
    assert "1 smaller transaction with deletes, 1 older TRUNCATE" in said.err
    assert coffre(*find, "--until", (BEGAN + HOUR).isoformat(), "--json").json() == []
    outside = ("--vault", f"s3://{BUCKET}", "--identity", "env:KEY", "journal", "find-drop", "shop", "--json")
    assert coffre(*outside).json()[0]["command"].endswith(f"restore database {base.id} --to env:NEW --at-lsn 0/F9")

    # Without the key, and without a journal
    assert "IDENTITY" in coffre("journal", "find-drop", "shop").err
    account.configure("shop", "blog")
    account.backup(target="blog")
    assert "JOURNAL_NONE" in coffre("journal", "find-drop", "blog").err
    assert "needs a stack" in coffre("--vault", f"s3://{BUCKET}", "journal", "list").err


def test_a_damaged_interval_is_named_and_the_others_are_read(coffre: Coffre, base: Backup) -> None:
    store = S3Store(BUCKET, client=make_client())
    # What comes after a pack, or in other stretches than that of definitions, which cannot be read
    packs = [info.key for info in store.list(journal_prefix("shop", FIRST)) if not info.key.endswith(".json")]
    segment, _, definitions = packs
    for key, found in ((segment, 5), (definitions, 1)):
        body = store.get(key)
        store.delete(key)
        said = coffre("journal", "find-drop", "shop", "--identity", "env:KEY", "--json")
        assert (said.status, len(said.json()), said.err.count("Left out")) == (0, found, 1), said.err
        assert key in said.err.replace("\n", "")
        log = coffre("journal", "log", "shop", "--identity", "env:KEY", "--table", "old.orders")
        assert (log.status, log.out.count("TRUNCATE")) == (0, 1)
        store.put(key, body, sha256=hashlib.sha256(body).hexdigest())

    store.delete(interval_key("shop", SECOND))
    store.put(interval_key("shop", SECOND), b"{}", sha256=hashlib.sha256(b"{}").hexdigest())
    find = ("journal", "find-drop", "shop", "--identity", "env:KEY", "--json")
    said = coffre(*find)
    assert (said.status, len(said.json())) == (0, 4)
    assert f"Left out: {interval_key('shop', SECOND)} of a journal is damaged" in said.err
    said = coffre("journal", "list", "shop")
    assert (said.status, said.out.count(FIRST)) == (0, 1)
    assert "it cannot be read. [JOURNAL_DAMAGED]" in " ".join(said.out.split())
    assert len(coffre("journal", "list", "shop", "--json").json()["damage"]) == 1

    # With nothing else it is an error, not a journal that does not exist
    store.delete(interval_key("shop", FIRST))
    assert "JOURNAL_DAMAGED" in coffre(*find).err


def test_the_last_moment_before_definitions_changed_is_shown_with_what_may_have_changed_them(
    coffre: Coffre, base: Backup
) -> None:
    vault, later = Vault(S3Store(BUCKET, client=make_client())), BEGAN + 2 * HOUR + timedelta(minutes=2)
    lines = [
        *transaction(16, 420, later, "public.orders: DELETE: id[integer]:1", "public.orders: DELETE: id[integer]:2"),
        *transaction(17, 430, later + timedelta(seconds=1)),
        *transaction(18, 440, later + timedelta(seconds=2), "public.orders: INSERT: id[integer]:3"),
        *transaction(19, 450, later + timedelta(seconds=3), "public.fresh: INSERT: id[integer]:1"),
    ]
    stored = journal_packs.store_lines(vault, "shop", FIRST, 3, FrameEncoder([public_key(KEY)]), pieces_of(lines))
    end = journal.read_end(vault, "shop", FIRST)
    tail = JournalSegment(
        interval=FIRST,
        number=3,
        previous="0" * 64,
        from_lsn=410,
        to_lsn=460,
        seen_at=later + timedelta(minutes=3),
        is_complete=True,
        transactions=4,
        lines=len(lines),
        last_commit=later + timedelta(seconds=3),
        size=stored.size,
        frames=stored.frames,
        packs=stored.packs,
    )
    body = end.model_copy(update={"tail": tail, "touched": ("public.fresh",)}).model_dump_json(exclude_none=True)
    vault.store.delete(interval_end_key("shop", FIRST))
    vault.store.put(interval_end_key("shop", FIRST), body.encode(), sha256=hashlib.sha256(body.encode()).hexdigest())
    find = ("journal", "find-drop", "shop", "--identity", "env:KEY")

    *_, deleted, drop, _ = coffre(*find, "--json").json()
    assert (deleted["transaction"], deleted["backup_id"]) == (16, base.id)
    assert (drop["kind"], drop["before_lsn"], drop["backup_id"]) == ("definitions", "0/1B8", base.id)
    assert drop["time"] == (later + timedelta(seconds=2)).isoformat()
    assert [(one["transaction"], one["before_lsn"]) for one in drop["transactions_without_rows"]] == [(17, "0/1AD")]
    said = coffre(*find)
    assert "the last moment that is known to fit the definitions before the change. Definitions have" in said.out
    assert "changed no row. If it made the change: --before-transaction 17" in " ".join(said.out.split())
    assert "DELETE id='1'" in coffre("journal", "log", "shop", "--identity", "env:KEY", "--table", "public.orders").out
    listed = coffre("journal", "list", "shop")
    assert f"Rows are stored up to {tail.seen_at:%Y-%m-%d %H:%M:%S}: see coffre journal find-drop." in " ".join(
        listed.out.split()
    )
    [first] = [one for one in coffre("journal", "list", "shop", "--json").json()["intervals"] if one["id"] == FIRST]
    assert first["rows_stored_to"] == tail.seen_at.isoformat()
