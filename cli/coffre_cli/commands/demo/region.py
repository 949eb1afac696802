"""The demo's last chapter: the region is gone, and everything is recovered from a copy on a disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from coffre_cli.commands.backups.copy import copy
from coffre_cli.commands.demo.steps import Scene, title, typed
from coffre_cli.commands.keys.recovery_kit import recovery_kit
from coffre_cli.commands.recover.recover import recover
from coffre_cli.screen import console, say

if TYPE_CHECKING:
    from coffre_local.sample import TableFingerprint
    from coffre_local.sample.files import FileFingerprint

_DATABASE: Final = "casa_recovered"
_BUCKET: Final = "casa-files-recovered"
# The demo's own, for a kit that lives as long as the demo.
_PASSPHRASE: Final = {"DEMO_KIT": "five words of the demo"}


@dataclass(frozen=True)
class Offsite:
    """What is kept away from the region: a copy of the vault on a disk, and the recovery kit."""

    folder: Path

    @property
    def copy(self) -> Path:
        """The copy of the vault."""
        return self.folder / "disk"

    @property
    def kit(self) -> Path:
        """The recovery kit."""
        return self.folder / "kit"


def take_offsite(folder: Path) -> Offsite:
    """Copy the vault to a disk, and write the recovery kit."""
    offsite = Offsite(folder)
    console.print()
    say("For the worst case: a copy of the vault on a disk elsewhere, and the recovery kit in the safe.")
    typed("coffre keys recovery-kit ./kit --include-identity --passphrase env:DEMO_KIT")
    with _variables(_PASSPHRASE):
        recovery_kit(offsite.kit, include_identity=True, passphrase="env:DEMO_KIT")  # noqa: S106 - names a variable
    offsite.copy.mkdir()
    typed("coffre copy --all --to directory:./disk")
    copy(everything=True, to=f"directory:{offsite.copy}")
    return offsite


def lose_region(
    scene: Scene,
    offsite: Offsite,
    tables: dict[str, TableFingerprint],
    files: dict[str, FileFingerprint],
    *,
    keep: bool,
) -> bool:
    """Delete vault, catalog, database and bucket, recover them from the copy, and compare; tell whether all is equal.

    Parameters
    ----------
    keep
        The stack is used afterwards: nothing is deleted, and the copy alone is used all the same.
    """
    from coffre_local.sample.files import make_bucket

    title("12. The region is gone", "A disaster, and what is left of it: the disk, the kit, and this machine.")
    if not keep:
        for sentence in _lose(scene):
            say(f"  - {sentence}", style="red")
    make_bucket(scene.s3, _BUCKET, scene.environment["AWS_DEFAULT_REGION"])
    store = {
        "endpoint": scene.environment["AWS_ENDPOINT_URL"],
        "access_key_id": scene.environment["AWS_ACCESS_KEY_ID"],
        "secret_access_key": scene.environment["AWS_SECRET_ACCESS_KEY"],
    }
    new_places = {"NEW_DATABASE": scene.url(_DATABASE), "NEW_STORE": json.dumps(store)}
    typed(
        "coffre recover --kit ./kit --from directory:./disk --to casa=env:NEW_DATABASE "
        f"--to casa-files=s3://{_BUCKET} --store casa-files=env:NEW_STORE"
    )
    with _variables({**_PASSPHRASE, **new_places}), suppress(typer.Exit):
        recover(
            kit=offsite.kit,
            addresses=[f"directory:{offsite.copy}"],
            passphrase="env:DEMO_KIT",  # noqa: S106 - names a variable
            to=["casa=env:NEW_DATABASE", f"casa-files=s3://{_BUCKET}"],
            store=["casa-files=env:NEW_STORE"],
            work=offsite.folder / "recovery",
            yes=True,
        )
    return _compare(scene, tables, files)


def _compare(scene: Scene, tables: dict[str, TableFingerprint], files: dict[str, FileFingerprint]) -> bool:
    from coffre_local.sample import fingerprint
    from coffre_local.sample.files import fingerprint_files

    found, objects = fingerprint(scene.url(_DATABASE)), fingerprint_files(scene.s3, _BUCKET)
    wrong = [name for name in sorted({*tables, *found}) if tables.get(name) != found.get(name)]
    wrong += [key for key in sorted({*files, *objects}) if files.get(key) != objects.get(key)]
    for name in wrong[:10]:
        say(f"  DIFFERENT: {name}", style="bold red")
    if not wrong:
        rows = sum(table.rows for table in tables.values())
        say(f"  Equal to what was backed up: {rows:,} rows, and all {len(files)} files.", style="bold green")
    return not wrong


def _lose(scene: Scene) -> Iterator[str]:
    from coffre.postgres.connection.connection_secret import parse_secret
    from coffre.postgres.connection.create_database import drop_database
    from coffre_local import stack
    from coffre_local.aws import session

    endpoint = scene.environment["AWS_ENDPOINT_URL"]
    for bucket in (scene.state.outputs["VaultBucket"], stack.SAMPLE_FILES):
        _empty(scene, bucket)
        yield f"Emptied the bucket {bucket}."
    table = scene.state.outputs["CatalogTable"]
    session(scene.environment).client("dynamodb", endpoint_url=endpoint).delete_table(TableName=table)
    yield f"Deleted the catalog, {table}."
    drop_database(parse_secret(scene.url(stack.SAMPLE), where=stack.SAMPLE))
    yield f"Dropped the database {stack.SAMPLE}."


def _empty(scene: Scene, bucket: str) -> None:
    for page in scene.s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for version in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
            scene.s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])


@contextmanager
def _variables(values: dict[str, str]) -> Iterator[None]:
    """Set variables of this process for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
