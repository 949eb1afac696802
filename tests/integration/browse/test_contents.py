"""Looking into backups of databases: the rows of a table, and what differs between two backups."""

from __future__ import annotations

import io
from contextlib import closing

import botocore.session
import psycopg2
from tests.integration.conftest import BUCKET, REGION, Coffre, run_sql

from coffre.model.manifest import Manifest
from coffre.model.storage import ObjectChoice
from coffre.operations.browse.contents import find_table, rows_of
from coffre.operations.browse.diff import Change, Difference, differences
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault


def test_rows_and_differences_of_tables_are_told(coffre: Coffre, shop: str) -> None:
    run_sql(shop, "CREATE TABLE same AS SELECT 1 AS a", "CREATE TABLE goes AS SELECT 2 AS a")
    coffre.configure(shop)
    first = _manifest(coffre, coffre.backup()["id"])
    run_sql(
        shop,
        "DROP TABLE goes",
        "CREATE TABLE comes AS SELECT 3 AS a",
        "DELETE FROM orders WHERE id <= 10",
        "UPDATE customers SET name = 'Grace Hopper' WHERE id = 7",
    )
    second = _manifest(coffre, coffre.backup()["id"])

    found = list(differences(_vault(), first, second, ObjectChoice()))

    assert [(one.name, one.change, one.rows_before, one.rows_after) for one in found] == [
        ("public.comes", Change.ADDED, None, 1),
        ("public.customers", Change.CHANGED, 50, 50),
        ("public.goes", Change.REMOVED, 1, None),
        ("public.orders", Change.CHANGED, 1000, 990),
    ]
    assert list[Difference](differences(_vault(), second, second, ObjectChoice())) == []
    decoder = FrameDecoder([coffre.identity])
    rows = b"".join(rows_of(_vault(), second, decoder, find_table(second.database, "orders")))
    assert rows == _copied(shop, "orders")


def _vault() -> Vault:
    return Vault(S3Store(BUCKET, client=make_client(session=botocore.session.get_session(), region=REGION)))


def _manifest(coffre: Coffre, backup_id: str) -> Manifest:
    return open_manifest(_vault(), coffre.catalog.get_backup(backup_id))


def _copied(database: str, table: str) -> bytes:
    with closing(psycopg2.connect(database)) as session, session.cursor() as cursor:
        out = io.BytesIO()
        cursor.copy_expert(f"COPY {table} TO STDOUT", out)
        return out.getvalue()
