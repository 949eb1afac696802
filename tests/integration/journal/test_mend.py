"""What a vault's journal has lost comes back from a copy, and a restore to a moment in it is what `pg_dump` saw."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import BUCKET, Coffre, client
from tests.integration.contents import RoundTripOn
from tests.integration.here_scene import here, stack
from tests.integration.journal_story import Story
from tests.integration.vault_copies import Command, copy_vault

from coffre.operations.journal.drain import drain
from coffre.operations.journal.switch_off import switch_off
from coffre.vault import journal
from coffre.vault.layout import interval_key
from coffre_local.postgres_server import PostgresServer

__all__ = ["here", "stack"]


@pytest.fixture
def story(logical_server: Callable[[int], PostgresServer], round_trip_on: RoundTripOn) -> Iterator[Story]:
    story = Story(round_trip_on(logical_server(18)))
    yield story
    switch_off(story.job)


def dumped(home: Path, url: str) -> list[str]:
    """All that `pg_dump` writes, sorted: the order of rows is no content, and sequences may be further."""
    command = [str(home / "bin" / "pg_dump"), "--exclude-table-data=cached", "--dbname", url]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return sorted(line for line in text.splitlines() if "setval" not in line and not line.startswith(("--", "\\")))


def test_a_moment_of_a_mended_journal_is_what_pg_dump_saw(
    story: Story, stack: Coffre, here: Command, postgresql_home: Path, tmp_path: Path
) -> None:
    for _ in range(3):
        story.go_on()
        saw = dumped(postgresql_home, story.source)
        drain(story.job)
    disk = copy_vault(stack, tmp_path / "disk")
    [interval] = journal.intervals(story.job.vault, "shop")
    keys = journal.segment_keys(story.job.vault, "shop", interval.id)
    packs = [journal.read_segment(story.job.vault, key, None)[0].packs[0].key for key in keys[-3:]]
    lost = {interval_key("shop", interval.id), keys[-3].key, interval.definitions[0].pack, keys[-1].key, packs[1]}
    for key in lost:
        client("s3").delete_object(Bucket=BUCKET, Key=key)
    stack.put_object(keys[-2].key, b"{}")
    stack.put_object(packs[0], b"short")
    # The drain that comes meanwhile continues from what the catalog knows
    story.go_on()
    drain(story.job)

    done = here("mend", "--journal", "shop", "--from", f"directory:{disk}", "--json")

    assert done.status == 0, done.err
    said = json.loads(done.out)
    assert (set(said["keys"]), said["remains"]) == (lost | {keys[-2].key, packs[0]}, [])
    # The newest segment is lost, and what the catalog knew: the next drain continues from what was put back
    disk = copy_vault(stack, tmp_path / "later")
    newest = journal.segment_keys(story.job.vault, "shop", interval.id)[-1].key
    client("s3").delete_object(Bucket=BUCKET, Key=newest)
    state = story.job.journals.find("shop")
    assert state is not None
    assert story.job.journals.forget(state)
    said = json.loads(here("mend", "--journal", "shop", "--from", disk, "--json").out)
    assert (said["keys"], said["unproven"], said["remains"]) == ([newest], [newest], [])
    story.go_on()
    assert drain(story.job).ended == ()
    assert len(journal.intervals(story.job.vault, "shop")) == 1
    story.restored(story.turns[2], at={"lsn": story.turns[2].lsn})
    assert dumped(postgresql_home, story.round_trip.copy) == saw
