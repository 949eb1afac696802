"""`coffre mend`: a backup in the vault is put right from a copy of it."""

from __future__ import annotations

import json
from pathlib import Path

import boto3
from tests.unit.cli.backups.test_copy import configure
from tests.unit.cli.conftest import BUCKET, Account, Coffre


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
