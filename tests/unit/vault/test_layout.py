"""Keys of a vault: what is written under a key that is made here is recognized as Coffre's own."""

from __future__ import annotations

import pytest

from coffre.vault import layout

ID = "01JZZZZZZZZZZZZZZZZZZZZZZZ"
BACKUP = ("shop", ID)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (layout.manifest_key(*BACKUP), "manifest.json"),
        (layout.entries_key(*BACKUP), "entries.jsonl.zst"),
        (f"{layout.backup_prefix(*BACKUP)}/entries-000001.jsonl.zst", "entries-000001.jsonl.zst"),
        (layout.progress_key(*BACKUP), "progress.json"),
        (layout.tier_mark_key(*BACKUP, "DAILY"), "marks/tier-DAILY.json"),
        (layout.pin_mark_key(*BACKUP), "marks/pin.json"),
        (f"{layout.damage_prefix(*BACKUP)}-{ID}.json", f"reports/damage-{ID}.json"),
        (f"{layout.reports_prefix(*BACKUP)}drill-{ID}.html", f"reports/drill-{ID}.html"),
    ],
)
def test_a_record_is_recognized(key: str, name: str) -> None:
    assert layout.record_of(key) == layout.RecordKey("shop", ID, name)
    assert layout.folder_of(key) == BACKUP
    assert key.startswith(f"{layout.backup_prefix(*BACKUP)}/")


def test_a_pack_is_recognized_by_the_backup_that_wrote_it() -> None:
    assert layout.writer_of(f"{layout.pack_prefix(ID, 7)}-0a1b2c3d-0000") == ID
    assert layout.writer_of(f"{layout.shared_entries_prefix(ID)}-0a1b2c3d-0000.jsonl.zst") == ID
    assert not layout.is_pack(layout.entries_key(*BACKUP))
    assert not layout.is_pack(f"{layout.shared_entries_prefix(ID)}.jsonl.zst")


def test_an_anchor_is_recognized() -> None:
    assert layout.is_anchor(layout.anchor_key(ID))
    for key in (f"v1/audit/anchors/{ID}", f"v1/audit/anchors/x/{ID}.json", f"v1/audit/{ID}.json", "v1/audit/anchors/"):
        assert not layout.is_anchor(key)


@pytest.mark.parametrize(
    "key",
    [
        layout.restore_report_key(ID),
        layout.restore_state_key(ID),
        layout.restore_list_key(ID, "names", 1),
        layout.restore_list_key(ID, "failed", 12),
    ],
)
def test_what_a_restore_keeps_is_recognized(key: str) -> None:
    assert layout.is_restore_report(key)
    assert layout.record_of(key) is None
