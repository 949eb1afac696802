"""The main job: a database is dumped, stored, catalogued, restored into a new database, and equal."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import pytest
from tests.integration.conftest import Coffre, beside

from coffre.model.backup import Status, Tier
from coffre_local.sample import fingerprint, load, sequences


@pytest.fixture
def sample(empty_database: str) -> str:
    """The sample application's database with large objects."""
    load(empty_database, scale=0.02, large_objects=True)
    return empty_database


@pytest.fixture
def restored(empty_database: str) -> Iterator[str]:
    """The URL of a database that does not exist yet; dropped afterwards."""
    name = f"restored_{empty_database.rsplit('_', 1)[1]}"
    yield beside(empty_database, name)
    with psycopg2.connect(empty_database) as session:
        pass
    session.close()
    session = psycopg2.connect(empty_database)
    session.autocommit = True
    session.cursor().execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    session.close()


def test_a_restored_database_equals_its_source(coffre: Coffre, sample: str, restored: str) -> None:
    # Given a backup of the sample database
    coffre.configure(sample)
    answer = coffre.backup()
    assert answer["status"] == "COMPLETED"

    # When it is restored into a database that does not exist yet
    coffre.restore(answer["id"], restored)

    # Then every row, sequence, and materialized view is the same
    assert fingerprint(restored) == fingerprint(sample)
    assert sequences(restored) == sequences(sample)

    # And the catalog tells the story
    (backup,) = coffre.backups()
    assert backup.status is Status.COMPLETED
    assert backup.tiers == (Tier.MANUAL,)
    assert backup.rows
    assert backup.plaintext_bytes
    assert backup.stored_bytes
    assert backup.stored_bytes < backup.plaintext_bytes
    (restore,) = coffre.catalog.restores()
    assert restore.status is Status.COMPLETED
    assert restore.rows == backup.rows
    assert coffre.troubles() == []
