"""The records of copies: one of each backup in each destination."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from coffre.catalog.catalog import Catalog
from coffre.model.configuration import Configuration
from coffre.model.copies import Copy, CopyStatus
from coffre.model.errors import CopyUnknownError

AT = datetime(2026, 11, 28, 3, tzinfo=UTC)
IDS = ("01K9X000000000000000000000", "01K9X000000000000000000001")


def copy(destination: str, backup_id: str, status: CopyStatus = CopyStatus.COMPLETED) -> Copy:
    return Copy(
        destination=destination, backup_id=backup_id, target="shop", status=status, started_at=AT, packs=3, bytes=12
    )


def test_each_destination_has_its_own_records_the_newest_first(catalog: Catalog) -> None:
    for destination in ("off", "offsite"):
        for backup_id in IDS:
            catalog.copies.keep(copy(destination, backup_id))

    assert [one.backup_id for one in catalog.copies.of("off")] == [IDS[1], IDS[0]]
    assert catalog.copies.find("off", IDS[0]) == copy("off", IDS[0])
    assert catalog.copies.find("disk", IDS[0]) is None


def test_a_record_replaces_the_earlier_one(catalog: Catalog) -> None:
    catalog.copies.keep(copy("off", IDS[0], CopyStatus.IN_PROGRESS))
    catalog.copies.keep(copy("off", IDS[0]))

    assert [one.status for one in catalog.copies.of("off")] == [CopyStatus.COMPLETED]


def document(**copies: object) -> dict[str, object]:
    store = {"type": "directory", "path": "/mnt/nas"}
    return {
        "encryption": "none",
        "targets": [{"name": "shop", "secret": "coffre/database/shop"}, {"name": "other", "secret": "coffre/x"}],
        "copies": [{"name": name, "store": store, "targets": targets} for name, targets in copies.items()],
    }


def test_a_target_is_copied_where_it_is_named_and_where_none_is() -> None:
    configuration = Configuration.model_validate(document(all=[], shops=["shop"]))

    assert [one.name for one in configuration.copies_of("shop")] == ["all", "shops"]
    assert [one.name for one in configuration.copies_of("other")] == ["all"]
    with pytest.raises(CopyUnknownError, match="nas"):
        configuration.destination("nas")


@pytest.mark.parametrize(
    ("copies", "words"),
    [({"vault": []}, "names the vault itself"), ({"one": ["shopp"]}, "do not exist: shopp")],
)
def test_a_copy_of_nothing_and_one_called_vault_are_refused(copies: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Configuration.model_validate(document(**copies))
