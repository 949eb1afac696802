"""Values of sequences at a moment: never behind one that was used, and where that is not known, it is said."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from tests.integration.journal_scene import Scene
from tests.integration.journal_vault import TARGET, Journal, Killed, killed_at

from coffre.model.manifest import SequenceValue
from coffre.operations.restore_database.moment_sequences import sequences_at
from coffre.policy.moments import Point, Stretch, choose
from coffre.postgres.destination.copy_in import set_sequences
from coffre_cli.commands.keys.kit import restore
from coffre_local.toolchain import Toolchain


@pytest.fixture
def by_kit(
    toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[dict[str, tuple[int, bool]], list[str]]]:
    """Return the values that the recovery kit finds, and what it says."""

    def found(scene: Scene, readings: list[Any]) -> tuple[dict[str, tuple[int, bool]], list[str]]:
        home = toolchain.postgresql(18)
        monkeypatch.setenv("PATH", str(home / "bin"), prepend=":")
        of_kit = {"LD_LIBRARY_PATH": home / "lib", "PGHOST": "127.0.0.1", "PGPORT": scene.server.port}
        for name, value in {**of_kit, "PGUSER": "postgres"}.items():
            monkeypatch.setenv(name, str(value))
        scene.copy.commit()
        capsys.readouterr()
        values = restore.sequences_at(
            restore.Database(f"{scene.name}_copy", "UTF8"), [[one.model_dump() for one in each] for each in readings]
        )
        said = capsys.readouterr().out.splitlines()
        return {one["sequence_name"]: (one["last_value"], one["is_called"]) for one in values}, said

    return found


def test_sequences_are_never_behind_what_was_used_also_where_they_were_set_back(
    make_journal: Callable[..., Journal], by_kit: Callable[..., Any]
) -> None:
    journal = make_journal(
        18,
        "CREATE TABLE serial (id serial PRIMARY KEY)",
        "CREATE TABLE identity (id smallint GENERATED ALWAYS AS IDENTITY (INCREMENT BY -1) PRIMARY KEY)",
        "CREATE SEQUENCE loose; CREATE SEQUENCE down INCREMENT BY -1; CREATE SEQUENCE round MAXVALUE 5 CYCLE",
        "CREATE SEQUENCE cached CACHE 20; CREATE SEQUENCE undone; CREATE SEQUENCE quiet; CREATE SEQUENCE later",
    )
    scene, run = journal.scene, journal.scene.run
    journal.drain()
    scene.take_base()

    def use(times: int) -> None:
        for _ in range(times):
            run("INSERT INTO serial DEFAULT VALUES", "INSERT INTO identity DEFAULT VALUES")
            run(*(f"SELECT nextval('{name}')" for name in ("loose", "down", "round", "cached", "later")))

    use(4)
    journal.drain()
    use(3)
    with scene.session.cursor() as cursor:
        cursor.execute("SELECT nextval('undone')")
    scene.session.rollback()
    scene.mark()
    run("TRUNCATE serial, identity RESTART IDENTITY", "INSERT INTO serial DEFAULT VALUES")
    run("SELECT setval('loose', 2)", "ALTER SEQUENCE down RESTART")
    journal.drain()
    scene.segments = journal.lines()
    scene.replay_to(scene.marks[0].moment)
    report: Any = SimpleNamespace(exceptions=[], notes=[])

    *_, before, after = journal.segments()
    of_kit, said_by_kit = by_kit(scene, [before.sequences, after.sequences])
    with scene.copy:
        values = sequences_at(scene.copy, [before.sequences, after.sequences], report)
        assert set_sequences(scene.copy, values) == []

    found = {value.sequence_name: (value.last_value, value.is_called) for value in values}
    assert found == {
        "serial_id_seq": (7, True),  # its rows show it
        "identity_id_seq": (-7, True),
        "loose": (4, True),  # of the drain before: nothing shows that it was further
        "down": (-4, True),
        "round": (2, True),
        "cached": (20, True),
        "undone": (1, True),
        "quiet": (1, False),
        "later": (7, True),
    }
    assert of_kit == found
    [said] = report.exceptions
    names = "public.down, public.identity_id_seq, public.loose, public.serial_id_seq"
    assert said == f"Set back around the moment, and restored to the furthest value known: {names}."
    assert [one.replace('"', "").partition(": ")[2] for one in said_by_kit] == [f"{names}."]
    run("INSERT INTO public.serial DEFAULT VALUES", "INSERT INTO public.identity DEFAULT VALUES", session=scene.copy)
    assert sequences_at(scene.copy, [after.sequences], report) == list[SequenceValue](after.sequences)


@pytest.mark.parametrize("step", [2, 4])  # its first segment is stored; the catalog knows it or not
def test_what_a_killed_drain_has_read_is_not_taken_for_what_was_before_the_next(
    make_journal: Callable[..., Journal], by_kit: Callable[..., Any], step: int
) -> None:
    """Sequences are set back behind the moment, and have come further before the next drain."""
    journal = make_journal(
        18,
        "CREATE TABLE serial (id serial PRIMARY KEY, v text); CREATE TABLE passed (id serial PRIMARY KEY)",
        "CREATE TABLE hidden (id serial PRIMARY KEY); CREATE SEQUENCE loose; CREATE SEQUENCE unread",
        "CREATE TABLE reloaded (id serial PRIMARY KEY)",
    )
    scene, run = journal.scene, journal.scene.run
    journal.drain()
    scene.take_base()
    base = journal.base()

    def use(times: int) -> None:
        for _ in range(times):
            run("INSERT INTO serial (v) SELECT string_agg(md5(i::text), '') FROM generate_series(1, 300) i")
            run("INSERT INTO passed DEFAULT VALUES", "INSERT INTO hidden DEFAULT VALUES", "SELECT nextval('loose')")

    use(5)
    journal.drain()
    use(7)
    run("INSERT INTO reloaded DEFAULT VALUES")
    scene.mark()
    run("DELETE FROM reloaded; ALTER SEQUENCE reloaded_id_seq RESTART")
    run("DELETE FROM serial; DELETE FROM passed", "SELECT setval('serial_id_seq', 2), setval('loose', 2)")
    run("ALTER SEQUENCE passed_id_seq RESTART WITH 6")
    with killed_at(step), suppress(Killed):
        journal.drain(step_bytes=10_000)
    use(4)
    journal.drain()

    [mark] = scene.marks
    stretch = Stretch(journal.intervals()[0], None, journal.segments(), [("B", base)])
    chosen = choose(TARGET, Point(lsn=mark.moment.lsn), [stretch], datetime.now(UTC))
    assert [one.is_complete for one in chosen.segments] == [True, True, False, True]
    scene.segments = journal.lines()
    scene.replay_to(mark.moment)
    assert scene.hashes(scene.copy) == mark.hashes

    own = chosen.segments[0].sequences  # nothing was used when the base was taken
    *readings, last = [own if one is None else one for one in (*chosen.earlier, chosen.sequences)]
    readings.append(tuple(one for one in last if one.sequence_name not in ("hidden_id_seq", "unread")))
    report: Any = SimpleNamespace(exceptions=[], notes=[])
    values = sequences_at(scene.copy, readings, report)
    assert {one.sequence_name: one.last_value for one in values} == {
        "serial_id_seq": 12,
        "passed_id_seq": 9,
        "reloaded_id_seq": 1,
        "hidden_id_seq": 12,
        "loose": 6,
        "unread": 1,
    }
    furthest = "and restored to the furthest value known"
    assert report.exceptions == [
        f"Set back around the moment, {furthest}: public.loose, public.serial_id_seq.",
        f"Not read after the moment, {furthest}: public.hidden_id_seq, public.unread.",
    ]
    [note] = report.notes
    of_kit, said = by_kit(scene, readings)
    assert of_kit == {one.sequence_name: (one.last_value, one.is_called) for one in values}
    assert sorted(one.replace('"', "").rpartition(": ")[2] for one in said) == [
        "public.hidden_id_seq, public.unread.",
        "public.loose, public.serial_id_seq.",
        "public.passed_id_seq, public.reloaded_id_seq.",
    ]
    assert note.startswith("Rows have values beyond that of their sequence: public.passed_id_seq, public.reloaded_id")
