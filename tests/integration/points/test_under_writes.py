"""A restore point that is taken while an application writes: after a restore no row leads astray, or it is named.

The run that docs/benchmarks.md has numbers of is the same with more writes, at a hundred a second:
`COFFRE_POINT_WRITES=6000 COFFRE_POINT_RATE=100 pytest -s tests/integration/points/test_under_writes.py`
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.contract.weed import OWNER, Weed
from tests.integration.conftest import Coffre, run_sql, with_password
from tests.integration.points_scene import PointScene
from tests.integration.points_writer import TABLE, Writer

from coffre.operations.points.find import dangling_references, find_point, whole_points
from coffre.stores.s3_client import make_client

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

WRITES = int(os.environ.get("COFFRE_POINT_WRITES", "80"))
RATE = float(os.environ["COFFRE_POINT_RATE"]) if "COFFRE_POINT_RATE" in os.environ else None
QUERY = {"type": "query", "query": "SELECT bucket, key, etag, size FROM public.documents"}


@pytest.fixture
def client(weed: Weed) -> Iterator[S3Client]:
    client = make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)
    yield client
    client.close()


@pytest.mark.parametrize("versioned", [True, False], ids=["versioned", "unversioned"])
def test_every_row_of_the_restored_database_has_its_object_or_is_named(
    coffre: Coffre,
    weed: Weed,
    client: S3Client,
    empty_database: str,
    new_database: str,
    versioned: bool,
) -> None:
    scene = PointScene(coffre, weed.endpoint_url, f"under-writes-{'versioned' if versioned else 'plain'}")
    client.create_bucket(Bucket=scene.bucket)
    if versioned:
        client.put_bucket_versioning(Bucket=scene.bucket, VersioningConfiguration={"Status": "Enabled"})
    run_sql(empty_database, TABLE)
    scene.configure(with_password(empty_database), objects=QUERY)
    writer = Writer(client, scene.bucket, empty_database, name="app", rate=RATE)
    started = threading.Event()
    scene.invoked.then = started.set
    began = time.monotonic()

    with writer.writing():
        writer.wait_for(WRITES // 2)
        scene.backup_database(point="shop")
        assert started.is_set()
        # The bucket's backup begins when much has changed, and more changes while it runs
        seen = writer.writes
        writer.wait_for(seen + WRITES // 2)
        scene.run_started()
    took = time.monotonic() - began

    point = next(whole_points(coffre.catalog))
    assert find_point(coffre.catalog, "shop") == point
    coffre.restore(point.database.backup_id, new_database)
    rows = dict(run_sql(new_database, "SELECT key, etag FROM documents"))
    found = {key: hashlib.md5(body, usedforsecurity=False).hexdigest() for key, body in scene.bodies(point).items()}
    astray = {key for key, etag in rows.items() if found.get(key) != etag}
    vault = coffre.backup_function().services.vault
    named = {name.partition("/")[2] for name, _ in dangling_references(vault, scene.files(point))}
    assert astray == named
    assert (point.references, point.dangling) == (len(rows), len(named))
    assert point.orphans == len(found.keys() - rows.keys())
    if versioned:
        assert named == set()
    assert writer.done.keys() == {"insert", "overwrite", "delete"}
    sys.stdout.write(
        f"\n{'versioned' if versioned else 'unversioned'}: {writer.writes:,} writes in {took:.0f} s, "
        f"{writer.writes / took:.0f} a second; {len(rows):,} references, {len(named):,} dangling and named, "
        f"{point.orphans:,} orphans\n"
    )
