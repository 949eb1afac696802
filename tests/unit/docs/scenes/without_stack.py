"""docs/restore.md: a vault in a directory, and no AWS."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.integration.bucket_backups import Object, keep_backup
from tests.synthetic import Writer
from tests.unit.docs.scenes import Stage, scene
from tests.unit.docs.scenes.casa import tables

from coffre.model.backup import Tier
from coffre.model.manifest import Manifest
from coffre.model.restore_report import RestoreReport
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import new_identity, public_key
from coffre.vault.vault import Vault

PLACE: Final = "docs/restore.md#The account is gone"
WHERE: Final = "127.0.0.1:54803/casa_back"
# 283 objects, 16.2 MB
_SIZES: Final = [57_000] * 282 + [126_000]


def vault(stage: Stage) -> None:
    """Copy a vault with backups of a database and of its files into a directory."""
    identity = new_identity()
    Path("identity.txt").write_text(identity)
    Path("copy").mkdir()
    copy = Vault(DirectoryStore("copy"))
    stage.terminal.folder.joinpath("scratch").mkdir()
    scratch, recipients = stage.terminal.folder / "scratch", (public_key(identity),)
    stage.monkeypatch.setattr("tests.synthetic.Manifest", partial(_manifest, 6_100, 70_000_000, 9_900_000))
    stage.monkeypatch.setattr(
        "tests.integration.bucket_backups.Manifest", partial(_manifest, 1_400, sum(_SIZES), 15_800_000)
    )
    writer = Writer(stage.account.catalog, copy, scratch, recipients, "casa")
    writer.backup({"listings": b"1\tfirst\n"}, datetime.now(UTC) - timedelta(seconds=35), None, Tier.MANUAL)
    objects = {f"casa-files/{at:03}": Object(at.to_bytes(4) * (size // 4)) for at, size in enumerate(_SIZES)}
    keep_backup(copy, objects, scratch, recipients=recipients, target="casa-files")
    stage.monkeypatch.delenv("COFFRE_STACK")
    stage.monkeypatch.setenv("DESTINATION", f"postgresql://me:secret@{WHERE}")


def opened(stage: Stage) -> None:
    """Give the variables of the first line, and read the warning that each command repeats."""
    vault(stage)
    stage.terminal.run("export COFFRE_VAULT=./copy COFFRE_IDENTITY=./identity.txt")


@scene(PLACE, "export COFFRE_VAULT=./copy COFFRE_IDENTITY=./identity.txt")
def variables(stage: Stage) -> None:
    vault(stage)


@scene(PLACE, "coffre list")
def a_list(stage: Stage) -> None:
    opened(stage)


@scene(PLACE, "coffre restore database latest --target casa --to env:DESTINATION")
def a_restore(stage: Stage) -> None:
    opened(stage)

    def restored(job: Any, _: object) -> RestoreReport:
        assert str(job.connection) == WHERE
        return RestoreReport(
            id=job.restore_id,
            backup_id=job.backup.id,
            target="casa",
            destination=WHERE,
            tables=tables(49),
            rows=766_090,
            phases_ms={},
            exceptions=(),
        )

    stage.monkeypatch.setattr("coffre_cli.commands.restore.without_stack.restore_database", restored)


@scene(PLACE, "coffre export latest --target casa-files --to ./files")
def an_export(stage: Stage) -> None:
    opened(stage)
    stage.after = lambda: len(list(Path("files").iterdir())) == len(_SIZES)


def _manifest(milliseconds: int, size: int, stored: int, **fields: Any) -> Manifest:
    """Return the manifest of a backup that is as large as that of the page, and took as long."""
    ended = fields["created_at"] + timedelta(milliseconds=milliseconds)
    return Manifest(**{**fields, "completed_at": ended, "plaintext_bytes": size, "stored_bytes": stored})
