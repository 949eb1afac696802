"""`coffre mend`: a backup in the vault is put right from a copy of it."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
import pytest
from tests.unit.cli.backups.test_copy import configure
from tests.unit.cli.conftest import BUCKET, Account, Coffre
from tests.unit.cli.test_journal import BEGAN, FIRST, SECOND, interval

from coffre.model.journal import IntervalEnd, JournalEnd, JournalState
from coffre.model.words import size
from coffre.stores.directory import DirectoryStore
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.stores.store import put_small
from coffre.vault.journal import begin_interval, end_interval
from coffre.vault.layout import interval_end_key, interval_key, segment_key
from coffre.vault.vault import Vault


def test_what_is_damaged_is_put_back_from_a_copy(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    backup = account.backup()
    disk = tmp_path / "disk"
    disk.mkdir()
    assert coffre("copy", "latest", "--to", f"directory:{disk}").status == 0
    s3, manifest = boto3.client("s3"), backup.manifest_key or ""
    whole = s3.get_object(Bucket=BUCKET, Key=manifest)["Body"].read()

    assert coffre("mend", backup.id, "--from", f"directory:{disk}").out == (
        f"Nothing of {backup.id} is missing, or known to be damaged. To read every byte: coffre verify {backup.id}\n"
    )
    s3.put_object(Bucket=BUCKET, Key=manifest, Body=b"{}")
    without = coffre("mend", backup.id)
    assert without.status == 1
    assert "The configuration has no copy of shop: no place is known that has good bytes. [COPY_UNKNOWN]" in without.err

    configure(account, {"name": "nas", "store": {"type": "directory", "path": str(disk)}})
    account.catalog.keeping.mark_damaged(backup.id, "The manifest differs.", backup.created_at)
    planned = coffre("mend", backup.id, "--dry-run")
    assert planned.out == f"1 object of {backup.id} would be put back, {len(whole) / 1000:.1f} kB.\n"
    assert s3.get_object(Bucket=BUCKET, Key=manifest)["Body"].read() == b"{}"
    said = coffre("mend", backup.id)

    assert (said.status, said.err) == (0, "")
    assert said.out == (
        f"1 object of {backup.id} put back, {len(whole) / 1000:.1f} kB.\n"
        "These backups are marked as damaged. Each counts again when all of it was read:\n"
        f"  coffre verify {backup.id}\n"
    )
    assert s3.get_object(Bucket=BUCKET, Key=manifest)["Body"].read() == whole
    events = [one for one in account.catalog.audit.events() if one.action == "backup.mended"]
    assert [(one.subject, one.detail) for one in events] == [
        (backup.id, "from nas"),
        (backup.id, f"from directory:{disk}"),
    ]

    # No place has it: it stays, and the command fails.
    entries = json.loads(whole)["entries"][0]["key"]
    s3.put_object(Bucket=BUCKET, Key=entries, Body=b"spoiled")
    (disk / entries).unlink()
    lost = coffre("mend", backup.id, "--json")
    assert lost.status == 1
    assert list(lost.json()["lost"]) == [entries]
    assert f"No place has good bytes of {entries}" in coffre("mend", backup.id).out
    assert coffre("mend", backup.id, "--from", "elsewhere").status == 1


def test_a_vault_alone_is_mended_from_an_address(coffre: Coffre, account: Account, tmp_path: Path) -> None:
    backup = account.backup()
    for name in ("disk", "other"):
        (tmp_path / name).mkdir()
        coffre("copy", "--all", "--to", tmp_path / name)
    entries = next((tmp_path / "disk").glob("**/entries*"))
    whole = entries.read_bytes()
    entries.write_bytes(b"spoiled")

    assert coffre("--vault", tmp_path / "disk", "mend", backup.id).status == 2
    said = coffre("--vault", tmp_path / "disk", "mend", backup.id, "--from", tmp_path / "other")

    assert said.status == 0
    assert entries.read_bytes() == whole


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A copy of a vault's journal: an interval that has ended, and one that is open."""
    folder = tmp_path / "disk"
    folder.mkdir()
    leave_journal(Vault(DirectoryStore(folder)))
    return folder


def leave_journal(vault: Vault) -> None:
    begin_interval(vault, interval(FIRST, "a", 100))
    ended = IntervalEnd(reason=JournalEnd.GAP, stored_lsn=100, number=0, seen_at=BEGAN, ended_at=BEGAN)
    end_interval(vault, "shop", FIRST, ended)
    begin_interval(vault, interval(SECOND, "b", 200))


def test_a_journal_is_mended_from_a_copy(coffre: Coffre, account: Account, disk: Path) -> None:
    account.backup()
    account.configure_journal("shop")
    vault = Vault(S3Store(BUCKET, client=make_client()))
    leave_journal(vault)
    mend = ("mend", "--journal", "shop", "--from", f"directory:{disk}")

    nothing = coffre(*mend)
    assert (nothing.status, nothing.out) == (0, "Nothing of the journal of shop is missing, or known to be damaged.\n")
    begin, end, second = interval_key("shop", FIRST), interval_end_key("shop", FIRST), interval_key("shop", SECOND)
    stored = len(vault.store.get(begin)) + len(vault.store.get(end)) + len(vault.store.get(second))
    for key in (begin, end, second):
        vault.store.delete(key)
    planned = coffre(*mend, "--dry-run")
    assert (planned.status, list(vault.store.list("v1/journal/"))) == (0, [])
    assert planned.out.startswith(f"3 objects of the journal of shop would be put back, {size(stored)}.\n")
    said = coffre(*mend)

    assert (said.status, said.err) == (0, "")
    assert said.out == (
        f"3 objects of the journal of shop put back, {size(stored)}.\n"
        "Of 3 objects, only a copy says what was stored:\n"
        f"  {begin}\n  {end}\n  {second}\n"
        "The alert ends with the next verification of all journals:\n"
        "  coffre verify --level inventory\n"
    )
    assert [info.key for info in vault.store.list("v1/journal/")] == [end, begin, second]
    events = [one for one in account.catalog.audit.events() if one.action == "journal.mended"]
    assert [(one.target, one.detail) for one in events] == [("shop", f"from directory:{disk}")] * 2


def test_what_no_copy_has_of_a_journal_is_named_and_is_a_failure(coffre: Coffre, account: Account, disk: Path) -> None:
    account.backup()
    assert coffre("mend").status == 2
    assert coffre("mend", "latest", "--journal", "shop").status == 2
    assert coffre("mend", "--journal", "shop", "--target", "shop").status == 2
    assert "no place is known that has good bytes" in coffre("mend", "--journal", "shop").err
    configure(account, {"name": "nas", "store": {"type": "directory", "path": str(disk)}})
    (disk / "v1/journal").rename(disk / "v1/gone")
    assert "has anything of a journal of" in coffre("mend", "--journal", "shop").err
    (disk / "v1/gone").rename(disk / "v1/journal")
    vault = Vault(S3Store(BUCKET, client=make_client()))
    leave_journal(vault)
    account.catalog.journals.keep(JournalState(target="shop", interval=SECOND, number=7, sha256="e" * 64), None)
    key = interval_end_key("shop", FIRST)
    for body in (vault.store, DirectoryStore(disk)):
        body.delete(key)
        put_small(body, key, b"{}")
    put_small(DirectoryStore(disk), segment_key("shop", SECOND, 1, 200), b"{}")

    said = coffre("mend", "--journal", "shop")

    assert said.status == 1
    assert f"Refused: {key}: The copy nas:" in said.out
    assert f"No place has good bytes of {key}: The copy nas:" in said.out
    assert "No copy has the segments from 2 to 6." in said.out
    assert "No copy has this segment." in said.out
    assert "put back" not in said.out
    lost = coffre("mend", "--journal", "shop", "--json").json()
    assert (len(lost["lost"]), lost["keys"]) == (4, [])
    assert "cannot be read" in lost["remains"][0]


def test_a_journal_of_a_vault_alone_is_mended_from_an_address(
    coffre: Coffre, account: Account, disk: Path, tmp_path: Path
) -> None:
    account.backup()
    (tmp_path / "other").mkdir()
    coffre("copy", "--all", "--to", tmp_path / "other")
    mend = ("--vault", tmp_path / "other", "mend", "--journal", "shop")

    assert coffre(*mend).status == 2
    said = coffre(*mend, "--from", disk)

    assert said.status == 0, said.err
    assert "3 objects of the journal of shop put back" in said.out
    assert (tmp_path / "other" / interval_key("shop", FIRST)).exists()
