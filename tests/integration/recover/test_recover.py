"""`coffre recover`: everything from one copy, resumed wherever it was killed, and rehearsed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.integration.bucket_backups import Object, keep_backup
from tests.integration.conftest import Coffre, run_sql
from tests.integration.vault_copies import Command, command_in, copy_vault, files_of, without_aws, write_identity
from tests.web import web_server

from coffre.model.backup import Backup
from coffre.model.configuration_version import ConfigurationVersion, sha256_of
from coffre.model.errors import ConnectError
from coffre.operations.restore_database.resume import is_whole
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.destination import unfinished_restore
from coffre.stores.directory import DirectoryStore
from coffre.vault.codec import AGE_MAGIC, public_key
from coffre.vault.configuration_copies import keep_copy
from coffre.vault.vault import Vault
from coffre_cli.commands.keys.kit_facts import ContactFacts, CopyFacts, KitFacts, TargetFacts, VaultFacts
from coffre_cli.commands.restore.without_stack import restore_database_here

FILES = {"photos/a/cat.txt": Object(b"cat"), "photos/dog.txt": Object(b"dog" * 1000)}
RESTORE = "coffre_cli.commands.recover.steps.restore_database_here"
WHOLE = "coffre_cli.commands.recover.whole"
CHECK = {"name": "orders", "query": "SELECT count(*) FROM orders", "expect": 1000}


@dataclass
class Lost:
    """What is left after a disaster: a copy of the vault, the key, and a server."""

    command: Command
    copy: Path
    key: Path
    database: Backup
    new: str
    here: Path

    def __call__(self, *arguments: object) -> Any:
        return self.command("recover", *arguments)

    @property
    def source(self) -> tuple[object, ...]:
        return ("--from", self.copy, "--identity", self.key)

    @property
    def journal(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.here / "coffre-recovery" / "recovery.json").read_text())
        return found

    def step(self, name: str) -> dict[str, Any]:
        return next(step for step in self.journal["steps"] if step["name"] == name)


@pytest.fixture
def lost(
    coffre: Coffre,
    shop: str,
    new_database: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Lost:
    """The account is gone; a copy of the vault with a database's and a bucket's backup is on a disk."""
    coffre.configure(shop, target={"drill": {"checks": [CHECK], "rto_minutes": 30}})
    coffre.backup()
    (backup,) = coffre.backups()
    copy = copy_vault(coffre, tmp_path / "copy")
    store = DirectoryStore(copy)
    keep_backup(Vault(store), FILES, tmp_path, recipients=[public_key(coffre.identity)], target="files")
    document = coffre.document_text()
    version = ConfigurationVersion(
        number=1, at=datetime(2026, 11, 1, tzinfo=UTC), actor="ops", sha256=sha256_of(document), document=document
    )
    keep_copy(store, version)
    key = write_identity(coffre, tmp_path / "key.txt")
    without_aws(monkeypatch)
    monkeypatch.setenv("NEW", new_database)
    here = tmp_path / "here"
    return Lost(command_in(here, monkeypatch, capfd), copy, key, backup, new_database, here)


TO = ("--to", "shop=env:NEW", "--to", "files=directory:back")


def rows_of(url: str) -> list[tuple[Any, ...]]:
    return run_sql(url, "SELECT id, customer, note FROM orders ORDER BY id")


def test_everything_is_restored_from_one_copy_and_reported(lost: Lost, shop: str) -> None:
    before = files_of(lost.copy)

    planned = lost(*lost.source, *TO, "--dry-run")
    assert not (lost.here / "coffre-recovery").exists()
    done = lost(*lost.source, *TO, "--yes")

    assert (planned.status, "Nothing was changed." in planned.out) == (0, True)
    assert "5 s, by its size" in planned.out
    assert done.status == 0, done.out + done.err
    assert "Everything is restored." in done.out
    assert rows_of(lost.new) == rows_of(shop)
    assert files_of(lost.here / "back") == {"a/cat.txt": b"cat", "dog.txt": b"dog" * 1000}
    assert [step["name"] for step in lost.journal["steps"]] == ["restore shop", "restore files", "check shop"]
    assert {step["state"] for step in lost.journal["steps"]} == {"done"}
    assert lost.step("restore shop")["rows"] == 1050
    assert lost.step("check shop")["checks"] == ["orders: as expected"]
    page = (lost.here / "coffre-recovery" / "recovery.html").read_text()
    assert "Everything is restored." in page
    assert "1,050" in page
    # Nothing of it is secret, and the copy was only read
    written = "".join(path.read_text() for path in (lost.here / "coffre-recovery").glob("recovery.*"))
    assert "pa55" not in written
    assert "AGE-SECRET-KEY" not in written
    assert files_of(lost.copy) == before


def test_what_exists_is_not_overwritten_and_the_error_says_what_to_do(lost: Lost, shop: str) -> None:
    run_sql(lost.new.replace(lost.new.rpartition("/")[2], "postgres"), f"CREATE DATABASE {lost.new.rpartition('/')[2]}")
    run_sql(lost.new, "CREATE TABLE precious (id int)", "INSERT INTO precious VALUES (7)")
    (lost.here / "back").mkdir()
    (lost.here / "back" / "mine.txt").write_text("mine")

    said = lost(*lost.source, *TO, "--yes")

    assert (said.status, said.err.count("[DESTINATION_NOT_EMPTY]")) == (1, 2)
    assert "is not empty: it has public.precious" in said.err
    assert "--safety directory:DIR" in said.err
    assert "back exists, and is not empty" in said.err
    assert run_sql(lost.new, "SELECT id FROM precious") == [(7,)]
    assert not (lost.here / "coffre-recovery" / "recovery.json").exists()
    assert files_of(lost.here / "back") == {"mine.txt": b"mine"}


class Killed(BaseException):
    """The process ends here, without any of its own clearing away."""


@pytest.mark.parametrize("existed", [False, True], ids=["a new database", "an empty database"])
def test_a_recovery_that_was_killed_continues_and_repeats_nothing(
    lost: Lost, shop: str, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    """Killed within and after each step: what is done stays done, what was begun is done again."""
    name = lost.new.rpartition("/")[2]
    if existed:
        run_sql(lost.new.replace(name, "postgres"), f"CREATE DATABASE {name}")

    def half(place: Any, ask: Any, streams: Any, **how: Any) -> Any:
        """Leave what a killed restore leaves: the mark, and some of the tables."""
        if not existed:
            run_sql(lost.new.replace(name, "postgres"), f"CREATE DATABASE {name}")
        run_sql(lost.new, f"CREATE SCHEMA {unfinished_restore.MARK}")
        mark = f"COMMENT ON SCHEMA {unfinished_restore.MARK} IS '{how['restore_id']} without large objects'"
        run_sql(lost.new, mark, "CREATE TABLE orders (half int)")
        raise Killed

    def unnoted(*arguments: Any, **how: Any) -> Any:
        """Restore all of it, and die before it is noted."""
        restore_database_here(*arguments, **how)
        raise Killed

    def dies(*_: Any) -> Any:
        raise Killed

    remove_mark = unfinished_restore.end

    def dies_if_whole(session: Any) -> None:
        """Not where what the attempt before has left is removed."""
        if lost.step("restore shop")["whole"]:
            raise Killed
        remove_mark(session)

    def unreachable(*_: Any) -> Any:
        raise ConnectError("It does not answer.", code="CONNECTION_REFUSED")

    def killed(place: str, call: Any, *arguments: object) -> None:
        """Run the command, whose process dies when it calls this."""
        with monkeypatch.context() as patch:
            patch.setattr(place, call)
            with pytest.raises(Killed):
                lost(*arguments)
        assert lost.step("restore shop")["state"] == "running"

    def marks() -> list[tuple[Any, ...]]:
        return run_sql(lost.new, f"SELECT 1 FROM pg_namespace WHERE nspname = '{unfinished_restore.MARK}'")

    if existed:
        # Killed when the database was whole, which a person has emptied since; then half way of the next restore
        killed(RESTORE, unnoted, *lost.source, *TO, "--yes")
        assert (rows_of(lost.new), marks()) == (rows_of(shop), [])
        step, there = lost.step("restore shop"), parse_secret(lost.new, where="test")
        whole, elsewhere = (step["restore_id"], step["whole"]), there.to_database("dropped")
        assert is_whole(there, *whole)
        assert not is_whole(elsewhere, *whole)
        assert not is_whole(there, step["restore_id"], f"{step['whole']}0")
        run_sql(lost.new, "DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        assert not is_whole(there, *whole)
        killed(RESTORE, half, "--resume")
        killed(RESTORE, unnoted, "--resume")
        assert marks() == []
    else:
        # Killed half way; before it is noted that the database is whole; and before its mark is removed
        killed(RESTORE, half, *lost.source, *TO, "--yes")
        again = lost(*lost.source, *TO, "--yes")
        assert (again.status, "[RECOVERY_UNFINISHED]" in again.err) == (1, True)
        killed(f"{WHOLE}.identity_of", dies, "--resume")
        killed(f"{unfinished_restore.__name__}.end", dies_if_whole, "--resume")
        assert marks() == [(1,)]
    assert rows_of(lost.new) == rows_of(shop)
    oid = run_sql(lost.new, "SELECT 'orders'::regclass::oid")

    # The next one cannot reach the server; or it takes the database as it is, and dies when the files have their name
    renamed = Path.rename

    def renames_and_dies(self: Path, target: Path) -> Path:
        renamed(self, target)
        raise Killed

    with monkeypatch.context() as patch:
        if existed:
            patch.setattr(f"{WHOLE}.is_whole", unreachable)
            assert lost("--resume").status == 1
            assert lost.step("restore shop")["state"] == "failed"
        else:
            patch.setattr(Path, "rename", renames_and_dies)
            with pytest.raises(Killed):
                lost("--resume")
            assert lost.step("restore shop")["state"] == "done"
    done = lost("--resume")

    assert done.status in (0, 4), done.out + done.err
    step = lost.step("restore shop")
    assert (step["state"], step["rows"], step["problem"]) == ("done", lost.database.rows, None)
    assert "It was complete before the interruption." in step["notes"]
    assert run_sql(lost.new, "SELECT 'orders'::regclass::oid") == oid
    assert rows_of(lost.new) == rows_of(shop)
    assert files_of(lost.here / "back") == {"a/cat.txt": b"cat", "dog.txt": b"dog" * 1000}
    assert {step["state"] for step in lost.journal["steps"]} == {"done"}
    assert lost.journal["resumed"] == 4
    assert marks() == []


# The process ends itself, without any clearing away, when definitions exist and rows are to come.
DIES = """
import os, signal
from coffre.operations.restore_database import whole_database
whole_database.load_tables = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
from coffre_cli.app import main
main()
"""


def test_a_process_that_is_killed_while_it_fills_a_new_database_leaves_what_the_next_one_replaces(
    lost: Lost, shop: str
) -> None:
    command = [sys.executable, "-c", DIES, "recover", *map(str, lost.source), *TO, "--yes"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    dead = subprocess.run(command, cwd=lost.here, env=environment, check=False, capture_output=True, text=True)

    assert dead.returncode == -signal.SIGKILL, dead.stderr
    assert run_sql(lost.new, f"SELECT 1 FROM pg_namespace WHERE nspname = '{unfinished_restore.MARK}'") == [(1,)]
    assert run_sql(lost.new, "SELECT count(*) FROM orders") == [(0,)]
    done = lost("--resume")
    assert done.status == 0, done.out + done.err
    assert rows_of(lost.new) == rows_of(shop)
    assert lost.step("restore shop")["attempts"] == 2
    assert run_sql(lost.new, f"SELECT 1 FROM pg_namespace WHERE nspname = '{unfinished_restore.MARK}'") == []


def test_another_database_than_the_one_that_was_restored_is_not_taken_for_it(
    lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:

    def foreign(*_: Any, **__: Any) -> Any:
        name = lost.new.rpartition("/")[2]
        run_sql(lost.new.replace(name, "postgres"), f"CREATE DATABASE {name}")
        run_sql(lost.new, "CREATE TABLE orders (id int)", "INSERT INTO orders VALUES (7)")
        raise Killed

    monkeypatch.setattr(RESTORE, foreign)
    with pytest.raises(Killed):
        lost(*lost.source, *TO, "--yes")
    monkeypatch.setattr(RESTORE, restore_database_here)

    said = lost("--resume")

    assert said.status == 1
    assert "[RESUME_UNCLEAR]" in lost.step("restore shop")["problem"]
    assert run_sql(lost.new, "SELECT id FROM orders") == [(7,)]
    assert lost.step("restore files")["state"] == "done"  # which does not need the database
    assert lost.step("check shop")["state"] == "waiting"
    assert "coffre recover --resume" in said.out


def test_of_several_copies_the_best_is_chosen_and_the_others_are_explained(
    lost: Lost, tmp_path: Path, shop: str
) -> None:
    torn = tmp_path / "torn"
    for name, body in files_of(lost.copy).items():
        (torn / name).parent.mkdir(parents=True, exist_ok=True)
        (torn / name).write_bytes(body)
    for pack in (torn / "v1" / "packs" / lost.database.id).rglob("*-*"):
        pack.unlink()

    done = lost("--from", torn, "--from", tmp_path / "gone", *lost.source, *TO, "--yes", "--json")

    assert done.status == 0, done.out + done.err
    answer = json.loads(done.out)
    assert answer["copy_address"] == str(lost.copy)
    assert answer["why"] == "It has usable backups of the most targets."
    assert any("torn has no usable backup of shop" in one for one in answer["others"])
    assert any("gone cannot be used" in one for one in answer["others"])
    assert rows_of(lost.new) == rows_of(shop)


def test_nothing_that_can_be_restored_is_an_error_with_every_copy_and_its_reason(lost: Lost, tmp_path: Path) -> None:
    none = lost("--from", tmp_path / "gone", "--identity", lost.key, *TO)
    early = lost(*lost.source, "--at", "2020-01-01", *TO)
    keyless = lost("--from", lost.copy, *TO)

    assert (none.status, "[NOTHING_TO_RECOVER]" in none.err, "gone" in none.err) == (1, True, True)
    assert (early.status, "from before 2020-01-02" in early.err) == (1, True)
    assert (keyless.status, "[IDENTITY_MISSING]" in keyless.err) == (1, True)
    assert not (lost.here / "coffre-recovery").exists()


def test_wrong_usage_is_refused_before_anything_is_looked_at(lost: Lost) -> None:
    cases = {
        "--from ADDRESS": (),
        "needs TARGET=WHERE": (*lost.source, "--to", "shop"),
        "names shop twice": (*lost.source, "--to", "shop=env:NEW", "--to", "shop=env:NEW"),
        "no backup of nosuch": (*lost.source, "--to", "nosuch=env:NEW"),
        "is for --rehearse": (*lost.source, "--scratch", "env:NEW"),
        "leave the other options out": ("--resume", *lost.source),
        "say where to: --to files=WHERE": (*lost.source, "--to", "shop=env:NEW"),
        "add --yes": (*lost.source, *TO),
    }
    for words, arguments in cases.items():
        said = lost(*arguments)
        assert said.status == 2, words
        assert words in " ".join(said.err.replace("│", " ").split()), (words, said.err)

    secret = lost(*lost.source, "--to", "shop=postgresql://me:topsecret@db/new", "--to", "files=directory:back")
    assert (secret.status, "[PASSWORD_IN_ARGUMENT]" in secret.err, "topsecret" in secret.err) == (1, True, False)
    nothing = lost("--resume")
    assert (nothing.status, "[RECOVERY_UNKNOWN]" in nothing.err) == (1, True)


def test_a_rehearsal_restores_everything_to_scratch_places_and_measures_it(
    lost: Lost, postgresql_home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COFFRE_POSTGRES_HOME", str(postgresql_home))
    places = tmp_path / "tmp"
    places.mkdir(mode=0o711)

    done = lost(*lost.source, "--rehearse", "--json")
    late = lost(*lost.source, "--rehearse", "--limit", "0.01", "--json")
    resumed = lost("--resume")

    answer = json.loads(done.out)
    assert done.status == 0, done.out + done.err
    assert answer["is_rehearsal"] is True
    assert answer["limit_seconds"] == 1800
    assert 0 < answer["rto_seconds"] < 1800
    assert {step["state"] for step in answer["steps"]} == {"done"}
    assert (late.status, json.loads(late.out)["is_complete"]) == (1, True)
    assert (resumed.status, "[RECOVERY_UNKNOWN]" in resumed.err) == (1, True)
    assert sorted(one.name for one in (lost.here / "coffre-recovery").iterdir()) == [
        ".lock",
        "recovery.html",
        "recovery.json",
    ]


def test_a_rehearsal_on_a_server_of_ones_own_leaves_no_database(lost: Lost, shop: str) -> None:
    done = lost(*lost.source, "--rehearse", "--scratch", "env:NEW", "--target", "shop", "--json")

    assert done.status == 0, done.out + done.err
    assert [step["name"] for step in json.loads(done.out)["steps"]] == ["restore shop", "check shop"]
    assert run_sql(shop, "SELECT datname FROM pg_database WHERE datname LIKE 'coffre_rehearsal_%'") == []


def test_checks_that_fail_make_the_recovery_fail(lost: Lost, shop: str) -> None:
    path = next((lost.copy / "v1" / "configuration").glob("*.json"))
    version = ConfigurationVersion.model_validate_json(path.read_text())
    document = version.document.replace("1000", "999")
    path.unlink()
    keep_copy(
        DirectoryStore(lost.copy), version.model_copy(update={"document": document, "sha256": sha256_of(document)})
    )

    done = lost(*lost.source, *TO, "--yes")

    assert done.status == 1
    assert "expected 999, found 1000" in done.out
    assert rows_of(lost.new) == rows_of(shop)


def test_with_the_kit_a_person_types_no_more_than_needed(
    lost: Lost, coffre: Coffre, shop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kit knows the lost vault and the copy; the passphrase, two places and a name are typed."""
    kit = tmp_path / "kit"
    kit.mkdir()
    facts = KitFacts(
        made_at=datetime(2026, 11, 1, tzinfo=UTC),
        coffre_version="1",
        format=1,
        vault=VaultFacts(address=str(tmp_path / "lost-vault")),
        copies=(CopyFacts(name="disk", address=f"directory:{lost.copy}"),),
        contacts=(ContactFacts(name="Ada", role="database owner", phone="+41 44 000 00 00"),),
        targets=(
            TargetFacts(
                name="legacy",
                kind="database",
                what="database legacy",
                newest=lost.database.id,
                created_at=datetime(2020, 1, 1, tzinfo=UTC),
                recipients=(),
            ),
        ),
        keys=(),
    )
    (kit / "facts.json").write_text(facts.model_dump_json())
    # Sealed by a passphrase, without the seconds that scrypt takes by design
    (kit / "identity.age").write_bytes(AGE_MAGIC + b" ...")
    sealed = {"five random words here": coffre.identity.encode()}
    monkeypatch.setattr("coffre.vault.passphrase.open_with_passphrase", lambda _, passphrase: sealed[passphrase])
    document = json.loads(coffre.document_text())
    document["targets"][0]["drill"]["checks"] = [{**CHECK, "name": "of the kit"}]
    (kit / "configuration.json").write_text(json.dumps(document))
    typed = {
        "Passphrase": "five random words here",
        "files": "directory:back",
        "shop": "env:NEW",
        'Type "shop"': "shop",
    }
    asked: list[str] = []

    def answer(question: str, **_: Any) -> str:
        asked.append(question)
        return next(text for start, text in typed.items() if question.startswith(start))

    monkeypatch.setattr("typer.prompt", answer)
    for module in ("coffre_cli.confirming", "coffre_cli.commands.recover.plan"):
        monkeypatch.setattr(f"{module}.is_interactive", lambda: True)

    done = lost("--kit", kit)

    # What the kit promises and no copy has is no success
    assert done.status == 4, done.out + done.err
    assert "with exceptions" in done.out
    assert (lost.step("restore legacy")["state"], "no backup here" in lost.step("restore legacy")["problem"]) == (
        "left out",
        True,
    )
    assert len(asked) == 4
    assert "lost-vault cannot be used" in done.out
    assert lost.journal["why"] == "It is the only copy with a backup that can be restored."
    assert lost.journal["contacts"] == ["Ada, database owner, +41 44 000 00 00"]
    assert lost.step("check shop")["checks"] == ["of the kit: as expected"]
    assert rows_of(lost.new) == rows_of(shop)
    # Another name than the plan's stops it before anything is changed
    typed |= {"files": "", "shop": "env:OTHER", 'Type "shop"': "yes"}
    monkeypatch.setenv("OTHER", f"{lost.new}_other")
    other = lost("--kit", kit, "--work", "other")
    assert (other.status, "[NAME_DIFFERS]" in other.err) == (1, True)
    assert run_sql(shop, f"SELECT 1 FROM pg_database WHERE datname = '{lost.new.rpartition('/')[2]}_other'") == []


def test_people_are_notified_and_a_notification_that_fails_changes_nothing(
    lost: Lost, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web_server() as web:
        monkeypatch.setenv("HOOK", f"{web.url}/secret-path")
        web.will_answer("/secret-path", 500)
        failed = lost(*lost.source, *TO, "--yes", "--notify", "env:HOOK")
        again = lost("--resume")

    texts = [one.json()["text"] for one in web.received]
    assert (failed.status, again.status) == (0, 0), failed.out + failed.err
    assert "Failed: notify: The webhook answered 500. [NOTIFICATION_NOT_SENT]" in failed.out
    assert "secret-path" not in failed.out + failed.err + again.out + json.dumps(lost.journal)
    assert len(texts) == 2
    assert "Everything is restored." in texts[1]
    assert "restore shop: done" in texts[1]
    assert lost.step("restore shop")["attempts"] == 1
    naked = lost(*lost.source, *TO, "--yes", "--notify", "https://hooks.example/secret")
    assert (naked.status, "[NOTIFY_SHAPE]" in naked.err) == (1, True)
