"""Two hundred seeded ways to spoil a backup: each is found at the level that promises to find it.

The forty lost rows are the drill's to find: here it is shown that no other level sees them.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from moto import mock_aws
from tests.catalog_table import create
from tests.corruption import Corruptor
from tests.synthetic import Writer, made_up_rows

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.model.verification import Share, VerificationReport
from coffre.operations.verify.inventory import inventory
from coffre.operations.verify.job import VerifyJob
from coffre.operations.verify.read_back import read_backup
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import FrameDecoder, FrameEncoder, new_identity, public_key
from coffre.vault.vault import Vault

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
CASES = range(40)
EVERYTHING = Share(parts=1, day=0)


@dataclass
class Spoiled:
    """One backup, which each case spoils anew."""

    root: Path
    pristine: Path
    catalog: Catalog
    backup: Backup
    identity: str
    scratch: Path

    @property
    def vault(self) -> Vault:
        return Vault(DirectoryStore(self.root))

    @property
    def job(self) -> VerifyJob:
        decoder = FrameDecoder([self.identity])
        return VerifyJob("J", self.catalog, self.vault, decoder, self.scratch, lambda: NOW, lambda: 900.0)

    def corruptor(self, seed: int) -> Corruptor:
        return Corruptor(self.catalog, self.vault, self.backup, random.Random(seed))

    def inventory(self) -> VerificationReport:
        return inventory(self.job, EVERYTHING)

    def read(self) -> VerificationReport:
        return read_backup(self.job, self.backup.id)

    def mend(self) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(self.pristine, self.root)
        fields = {"manifest_sha256": self.backup.manifest_sha256, "damaged_at": None, "damage": None}
        self.catalog._backups.change(self.backup.id, fields, allowed=(self.backup.status,))


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Spoiled]:
    root, pristine, scratch = (tmp_path_factory.mktemp(name) for name in ("vault", "pristine", "scratch"))
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
        catalog = Catalog("catalog")
        create(catalog._table)
        identity = new_identity()
        writer = Writer(catalog, Vault(DirectoryStore(root)), scratch, (public_key(identity),))
        tables = {"customers": made_up_rows(1, 40), "orders": made_up_rows(2, 9000), "visits": made_up_rows(3, 700)}
        first = writer.backup(tables, NOW - timedelta(days=1))
        # The second one points at most of what the first one stored.
        backup = writer.backup({**tables, "visits": made_up_rows(4, 900)}, NOW - timedelta(hours=1), first)
        # Calls of the played DynamoDB are most of a case: one record is enough.
        catalog._table._connection.delete_item("BACKUP", range_key=first.id)
        shutil.copytree(root, pristine, dirs_exist_ok=True)
        yield Spoiled(root, pristine, catalog, backup, identity, scratch)


@pytest.fixture
def fresh_one(spoiled: Spoiled) -> Iterator[Spoiled]:
    yield spoiled
    spoiled.mend()


def assert_found(spoiled: Spoiled, report: VerificationReport, what: str) -> None:
    assert report.status == 500, what
    assert spoiled.backup.id in {one.backup_id for one in report.damaged}, what
    assert spoiled.catalog.get_backup(spoiled.backup.id).damaged_at is not None, what


def test_an_untouched_backup_passes_every_level(fresh_one: Spoiled) -> None:
    assert fresh_one.inventory().damaged == ()
    report = fresh_one.read()
    assert (report.status, [one.outcome for one in report.examined]) == (200, ["verified"])


@pytest.mark.parametrize("seed", CASES)
def test_one_flipped_byte_is_found_by_reading(fresh_one: Spoiled, seed: int) -> None:
    what = fresh_one.corruptor(seed).flip_a_byte()

    assert_found(fresh_one, fresh_one.read(), what)


@pytest.mark.parametrize("seed", CASES)
@pytest.mark.parametrize(
    "spoil",
    [Corruptor.truncate_a_pack, Corruptor.lose_a_pack, Corruptor.swap_the_manifest],
    ids=lambda one: one.__name__,
)
def test_what_is_cut_missing_or_swapped_is_found_by_the_inventory(
    fresh_one: Spoiled, spoil: Callable[[Corruptor], str], seed: int
) -> None:
    what = spoil(fresh_one.corruptor(seed))

    assert_found(fresh_one, fresh_one.inventory(), what)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "spoil",
    [Corruptor.truncate_a_pack, Corruptor.lose_a_pack, Corruptor.swap_the_manifest],
    ids=lambda one: one.__name__,
)
def test_reading_finds_it_as_well(fresh_one: Spoiled, spoil: Callable[[Corruptor], str], seed: int) -> None:
    what = spoil(fresh_one.corruptor(seed))

    assert_found(fresh_one, fresh_one.read(), what)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("adapt_counts", [False, True])
def test_an_insiders_lost_row_passes_every_level_but_the_drill(
    fresh_one: Spoiled, seed: int, adapt_counts: bool
) -> None:
    """What this says is how careful the helper is: were it found here, the drill would have nothing to prove."""
    encoder = FrameEncoder((public_key(fresh_one.identity),))
    decoder = FrameDecoder([fresh_one.identity])
    before = fresh_one.corruptor(seed).manifest
    fresh_one.corruptor(seed).lose_a_row(decoder, encoder, fresh_one.scratch, adapt_counts=adapt_counts)

    assert fresh_one.inventory().damaged == ()
    assert fresh_one.read().damaged == ()
    after = fresh_one.corruptor(seed).manifest
    assert after.rows == before.rows - (1 if adapt_counts else 0)
