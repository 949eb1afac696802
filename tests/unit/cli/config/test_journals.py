"""`coffre config set` with a journal: its server is looked at first, its cost is said, what cannot work is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.config.conftest import Scene
from tests.unit.cli.conftest import Coffre

from coffre.model.checkup import Checkup
from coffre.model.journal_options import JournalOptions
from coffre.policy.checks.check import facts_of
from coffre.policy.checks.journal import JournalServer
from coffre.policy.checks.registry import run_checks

SERVER = JournalServer("logical", "backup", True, 3, 10, False, 8 << 30, 2 << 30)
NO_KEYS = JournalServer("logical", "backup", True, 3, 10, False, 8 << 30, 2 << 30, without_identity=("public.log",))
REPLICA = JournalServer("replica", "backup", True, 3, 10, False, 8 << 30, 2 << 30)


class Looking:
    """The function that backs databases up, asked by doctor; `server` is what it sees."""

    def __init__(self, scene: Scene, server: JournalServer) -> None:
        self.scene, self.server = scene, server
        self.asked: list[Mapping[str, Any]] = []
        scene.account.play = self.play

    def play(self, function: str, event: Mapping[str, Any]) -> object:
        if function != "backup_database":
            return self.scene.play(function, event)
        self.asked.append(event)
        results = run_checks(facts_of(self.server))
        return Checkup.of(datetime(2026, 11, 28, tzinfo=UTC), event["target"], results).model_dump(mode="json")


def written(scene: Scene, path: Path, *changed: Mapping[str, Any]) -> Path:
    shop = scene.template["targets"][0]
    targets = [{**shop, "journal": {}, **one} for one in changed or [{}]]
    path.write_text(json.dumps(scene.document(targets=targets)))
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new.json"


def test_the_server_is_looked_at_and_the_cost_is_said_before_a_journal_is_switched_on(
    coffre: Coffre, scene: Scene, file: Path
) -> None:
    looking = Looking(scene, NO_KEYS)

    said = coffre("config", "set", written(scene, file), "--dry-run")

    assert said.status == 0, said.err
    words = " ".join(said.out.split())
    assert "WARNING JOURNAL_NO_IDENTITY: An UPDATE or DELETE in one of 1 tables ends" in words
    assert "Seen: public.log" in words
    assert "312 connections to the server a day (a drain each 5 minutes), up to 2.1 GB of WAL kept there" in words
    assert "a month (expected)" in words
    assert "Nothing was changed." in words
    assert [one["journal"] for one in looking.asked] == [JournalOptions().model_dump(mode="json")]
    plan = coffre("config", "set", file, "--dry-run", "--json").json()
    assert plan["journals"][0]["checkup"]["results"][0]["code"] == "JOURNAL_NO_IDENTITY"
    assert scene.versions == []

    # What it only lacks refuses nothing, and what is on already is not looked at a second time
    assert coffre("config", "set", file, "--yes").status == 0
    looking.asked.clear()
    file.write_text(json.dumps(scene.document(vault_quota_bytes=7)))
    assert "journal" not in coffre("config", "set", file, "--yes").out
    assert looking.asked == []


def test_a_journal_that_would_store_nothing_is_refused_and_written_by_force(
    coffre: Coffre, scene: Scene, file: Path
) -> None:
    Looking(scene, REPLICA)

    said = coffre("config", "set", written(scene, file), "--yes")
    assert said.status == 1
    assert "JOURNAL_NOT_POSSIBLE" in said.err
    assert "ALTER SYSTEM SET wal_level = logical;" in said.out
    assert "the server's log does not have the rows" in " ".join(said.err.split())
    assert coffre("config", "set", file, "--dry-run").status == 1
    assert scene.versions == []

    assert coffre("config", "set", file, "--yes", "--force").status == 0
    assert len(scene.versions) == 1


def test_a_server_that_cannot_be_looked_at_is_no_server_that_is_fine(coffre: Coffre, scene: Scene, file: Path) -> None:
    def play(function: str, event: Mapping[str, Any]) -> object:
        failed = {"errorType": "ConnectError", "errorMessage": "Nothing answers at db:5432."}
        return failed if function == "backup_database" else scene.play(function, event)

    scene.account.play = play

    said = coffre("config", "set", written(scene, file), "--yes")

    assert (said.status, scene.versions) == (1, [])
    assert "could not be looked at" in said.err
    assert "COULD NOT LOOK" in said.out


def test_a_new_target_is_looked_at_when_it_is_in_effect(coffre: Coffre, scene: Scene, file: Path) -> None:
    looking = Looking(scene, REPLICA)
    other = {"name": "blog", "secret": "coffre/database/blog"}
    written(scene, file, {"journal": None}, other)

    said = coffre("config", "set", file, "--yes")

    assert said.status == 4
    assert "looked at when this is in effect" in said.out
    assert "JOURNAL_NOT_POSSIBLE" in said.out
    assert "coffre doctor blog" in said.err
    assert [one["target"] for one in looking.asked] == ["blog"]
    assert len(scene.versions) == 1


def test_journals_of_one_server_need_a_slot_each(coffre: Coffre, scene: Scene, file: Path) -> None:
    looking = Looking(scene, SERVER)
    off = {"journal": None}
    coffre("config", "set", written(scene, file, off, {**off, "name": "blog"}), "--yes")

    coffre("config", "set", written(scene, file, {}, {"name": "blog"}), "--yes")

    assert [(one["target"], one["slots"]) for one in looking.asked] == [("shop", 2), ("blog", 2)]
