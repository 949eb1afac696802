"""What an overwriting restore compares before it continues, also one that an earlier version began."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from coffre.model.errors import ConfirmationError
from coffre.model.restore import Scope
from coffre.operations.restore_database.consent import confirmed
from coffre.operations.restore_database.job import RestoreJob
from coffre.postgres.connection.address import Connection
from coffre.stores.directory import DirectoryStore
from coffre.stores.store import put_small
from coffre.vault.layout import restore_state_key
from coffre.vault.vault import Vault

UNUSED = cast(Any, None)
KEPT_THEN = b'{"facts": {"exact": {"database": "one"}, "sizes": {}}, "tables": null, "safety": null'


def test_a_restore_continues_where_and_as_whom_it_was_confirmed_and_that_of_an_earlier_version_anyway(
    tmp_path: Path,
) -> None:
    vault = Vault(DirectoryStore(tmp_path))
    job = RestoreJob(
        restore_id="01K9XT2M4Q0000000000000000",
        backup=UNUSED,
        connection=Connection("db", 5432, "app", "secret", "shop"),
        children=UNUSED,
        vault=vault,
        decoder=UNUSED,
        scratch=tmp_path,
        streams=1,
        runner=UNUSED,
        scope=Scope(replace=True),
        continues=True,
    )

    def continued(rest: bytes) -> dict[str, str]:
        key = restore_state_key(job.restore_id)
        if (tmp_path / key).exists():
            vault.store.delete(key)
        put_small(vault.store, key, KEPT_THEN + rest + b"}")
        found, plan = confirmed(job, UNUSED)
        assert found.confirmed is not None
        assert plan is None
        return dict(found.confirmed.facts.exact)

    assert continued(b"") == continued(b', "destination": "db:5432/shop as app"') == {"database": "one"}
    for other in (b"db:5432/shop as another", b"db2:5432/shop as app", b"db:5432/other as app"):
        with pytest.raises(ConfirmationError, match="was confirmed for") as refused:
            continued(b', "destination": "' + other + b'"')
        assert refused.value.code == "CONFIRMATION_MISMATCH"
