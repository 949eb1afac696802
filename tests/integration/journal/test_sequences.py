"""Values of sequences at a moment: never behind one that was used, and where that is not known, it is said."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.integration.journal_vault import Journal

from coffre.model.manifest import SequenceValue
from coffre.operations.restore_database.moment_sequences import sequences_at
from coffre.postgres.destination.copy_in import set_sequences


def test_sequences_are_never_behind_what_was_used_also_where_they_were_set_back(
    make_journal: Callable[..., Journal],
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
    report: Any = SimpleNamespace(exceptions=[])

    *_, before, after = journal.segments()
    with scene.copy:
        values = sequences_at(scene.copy, before.sequences, after.sequences, report)
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
    [said] = report.exceptions
    names = "public.down, public.identity_id_seq, public.loose, public.serial_id_seq"
    assert said == f"Set back around the moment, and restored to the furthest value known: {names}."
    run("INSERT INTO public.serial DEFAULT VALUES", "INSERT INTO public.identity DEFAULT VALUES", session=scene.copy)
    assert sequences_at(scene.copy, (), after.sequences, report) == list[SequenceValue](after.sequences)
