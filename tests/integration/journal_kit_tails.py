"""What the recovery kit makes of random tails, compared with what Coffre makes of them (for a benchmark)."""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from tests.integration.exports import psql
from tests.integration.journal_scene import Scene
from tests.integration.journal_tails import is_reached, tail_of, tailed
from tests.integration.journal_vault import TARGET, Journal

from coffre.model.errors import JournalError
from coffre.model.manifest import JournalBase
from coffre.operations.restore_database.moment_sequences import sequences_at
from coffre.policy.moments import Point, Stretch, choose
from coffre.postgres.journal.fitting import fit
from coffre.postgres.journal.transactions import Moment
from coffre_cli.commands.keys.kit import restore


def play_kit(journal: Journal, seed: int) -> int:
    """Run a workload with a tail; at each mark all rows and sequences that both make have to be equal."""
    scene, played = journal.scene, tailed(journal, seed)
    script, template = scene.scratch / "base.sql", f"{scene.name}_base"
    execute(scene, f"CREATE DATABASE {template}")
    scene.stack.callback(scene.server.drop_database, template)
    psql(scene.home, scene.server.dsn(template), script)
    backup = backup_of(journal, played.base)
    end, found = tail_of(journal)
    segments = journal.segments(played.interval)
    scene.segments = [*journal.lines(played.interval), found]
    fitting = fit(lambda: iter(found), scene.source.definitions, end.stored_lsn, scene.source.base)
    stretch = Stretch(played.interval, end, segments, [("B", played.base)])
    marks = [*played.before, *played.after]
    for number, mark in enumerate(marks):
        if not is_reached(mark.moment, fitting):
            with pytest.raises(SystemExit, match="do not fit the definitions of before"):
                by_kit(scene, template, backup, mark.at)
            marks = marks[:number]
            break
        is_refused = is_refused_at(scene, mark.moment)
        kit, rows, numbers = by_kit(scene, template, backup, mark.at)
        assert bool(kit.left) == is_refused
        assert rows == scene.hashes(scene.copy), f"{mark.at}: {kit.left}"
        chosen = choose(TARGET, Point(mark.at), [stretch], datetime.now(UTC))
        readings = [*(one for one in chosen.earlier if one is not None), chosen.sequences]
        report: Any = SimpleNamespace(exceptions=[], notes=[])
        with scene.copy:
            values = sequences_at(scene.copy, readings, report)
        here = {(one.schema_name, one.sequence_name): (one.last_value, one.is_called) for one in values}
        assert numbers == {place: value for place, value in here.items() if place in numbers}
    is_refused_at(scene, Moment(lsn=fitting.lsn))
    kit, rows, _ = by_kit(scene, template, backup, None)
    assert rows == scene.hashes(scene.copy), f"the end: {kit.left}"
    return len(marks) + 1


def is_refused_at(scene: Scene, moment: Moment) -> bool:
    """Apply the journal to the scene's copy as Coffre does."""
    try:
        scene.replay_to(moment)
    except JournalError as error:
        assert error.code == "JOURNAL_REPLAY"  # noqa: PT017
        return True
    return False


def backup_of(journal: Journal, base: JournalBase) -> Any:
    """The scene's base as the kit reads it, without a manifest in the vault."""
    scene, seen = journal.scene, journal.scene.source.base
    snapshot = f"{seen.xmin}:{seen.xmax}:{','.join(map(str, sorted(seen.running)))}"
    content = base.model_copy(update={"snapshot": snapshot, "lsn": seen.lsn}).model_dump(mode="json")
    backup: Any = restore.Backup.__new__(restore.Backup)
    backup.vault, backup.id, backup._opened = scene.scratch / f"vault-{scene.name}", "B", (None, b"")
    backup.manifest = {"target": TARGET, "recipients": [], "content": {"journal": content, "database": scene.name}}
    backup.identity = scene.scratch / f"identity-{scene.name}"
    backup.identity.write_text(journal.identity)
    url = {"PGHOST": "127.0.0.1", "PGPORT": str(scene.server.port), "PGUSER": "postgres"}
    path = f"{scene.home / 'bin'}:{os.environ['PATH']}"
    os.environ |= url | {"PATH": path, "LD_LIBRARY_PATH": str(scene.home / "lib")}
    return backup


def execute(scene: Scene, statement: str) -> None:
    with closing(psycopg2.connect(scene.server.dsn())) as session, session.cursor() as cursor:
        session.autocommit = True
        cursor.execute(statement)


def by_kit(scene: Scene, template: str, backup: Any, at: datetime | None) -> tuple[Any, dict[str, str], dict[Any, Any]]:
    """Apply the journal to another copy of the base as the kit does; returns it, all rows, and sequences."""
    name = f"{scene.name}_kit"
    execute(scene, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        kit, database = restore.Journal(backup, at), restore.Database(name, "UTF8")
        kit.require_fit(scene.scratch)
        restore.apply_journal(database, kit, scene.scratch)
        numbers = restore.sequences_at(database, kit.readings())
        with closing(psycopg2.connect(scene.server.dsn(name))) as session:
            rows = scene.hashes(session)
    finally:
        scene.server.drop_database(name)
    return kit, rows, {restore.place_of(one): (one["last_value"], one["is_called"]) for one in numbers}
