"""`coffre export`: where the file goes, whose key opens the backup, and what is said when it cannot be made."""

from __future__ import annotations

import io
import os
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest
from tests.integration.contents import RoundTrip, value
from tests.integration.exports import another_database, program

from coffre.model.backup import Backup
from coffre.model.errors import ExportError
from coffre.model.manifest import EntryKind
from coffre.postgres.archive.reader import read_archive
from coffre.vault.codec import new_identity, public_key
from coffre_cli import app, output_file, screen, stack_choice

ROWS = "SELECT n AS id, md5(n::text) || md5((-n)::text) AS text FROM generate_series(1, 100000) n"


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    status: int
    out: bytes
    err: str


type Command = Callable[..., Said]


@pytest.fixture
def command(
    round_trip: RoundTrip,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Command:
    """Run the command in an empty folder, against the stack of the round trip."""
    environment = round_trip.coffre.environment
    outputs = {
        "VaultBucket": environment["COFFRE_VAULT_BUCKET"],
        "VaultPrefix": "/",
        "CatalogTable": environment["COFFRE_CATALOG_TABLE"],
        "Configuration": environment["COFFRE_CONFIGURATION"],
        "IdentitySecret": environment["COFFRE_IDENTITY_SECRET"],
    }
    monkeypatch.setattr(stack_choice, "read_state", lambda: None)
    monkeypatch.setattr(stack_choice, "_outputs", lambda name: outputs)
    monkeypatch.setattr(screen.error_console, "width", 200)
    monkeypatch.setenv("COFFRE_STACK", "safe")
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments: object) -> Said:
        monkeypatch.setattr("sys.argv", ["coffre", "export", *map(str, arguments)])
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        said = capfdbinary.readouterr()
        assert b"Traceback" not in said.err
        code = ended.value.code
        assert isinstance(code, int | None)
        return Said(code or 0, said.out, said.err.decode())

    return run


@pytest.fixture
def backup(round_trip: RoundTrip) -> Backup:
    round_trip.fill(f"CREATE TABLE wide AS {ROWS}", "CREATE TABLE small AS SELECT 1 AS i")
    return round_trip.back_up()


def left() -> list[str]:
    """Return what is in the folder, hidden files too."""
    return sorted(path.name for path in Path().iterdir())


@contextmanager
def stdout_is(descriptor: int) -> Iterator[None]:
    saved = os.dup(1)
    os.dup2(descriptor, 1)
    try:
        yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(descriptor)


def test_a_file_named_after_target_and_time_is_written_and_never_overwritten(
    command: Command, round_trip: RoundTrip, backup: Backup
) -> None:
    said = command("latest")

    name = f"shop-{backup.created_at:%Y%m%dT%H%M%SZ}.dump"
    assert (said.status, said.out, left()) == (0, b"", [name])
    assert "2 tables, 100,001 rows" in said.err
    assert f"pg_restore --exit-on-error --dbname=DATABASE {name}" in said.err
    assert stat.S_IMODE(Path(name).stat().st_mode) == 0o600
    with another_database(round_trip) as copy:
        program(round_trip.home, "pg_restore", "-e", "-d", copy, name)
        round_trip.assert_equal()

    before = Path(name).read_bytes()
    again = command(backup.id)

    assert (again.status, left()) == (1, [name])
    assert "[OUTPUT_EXISTS]" in again.err
    assert Path(name).read_bytes() == before


def test_a_file_can_be_encrypted_to_somebody_else(command: Command, round_trip: RoundTrip, backup: Backup) -> None:
    theirs = new_identity()

    said = command(backup.id, "--recipient", public_key(theirs), "--output", "for-them.age")

    assert said.status == 0, said.err
    assert "age --decrypt --identity KEY.txt for-them.age | pg_restore" in said.err
    stored = Path("for-them.age").read_bytes()
    assert b"wide" not in stored
    opened = pyrage.decrypt(stored, [pyrage.x25519.Identity.from_str(theirs)])
    assert {entry.tag for entry in read_archive(io.BytesIO(opened)).entries} >= {"wide", "small"}
    with another_database(round_trip) as copy:
        program(round_trip.home, "pg_restore", "-e", "-d", copy, stdin=opened)
        round_trip.assert_equal()


@pytest.mark.parametrize("recipient", [False, True])
def test_stdout_gets_the_bytes_and_nothing_else(
    command: Command, round_trip: RoundTrip, backup: Backup, recipient: bool
) -> None:
    identity = new_identity()
    options = ("--recipient", public_key(identity)) if recipient else ()

    said = command(backup.id, "--format", "plain", "--table", "small", "--output", "-", *options)

    assert (said.status, left()) == (0, []), said.err
    script = pyrage.decrypt(said.out, [pyrage.x25519.Identity.from_str(identity)]) if recipient else said.out
    with another_database(round_trip) as copy:
        program(round_trip.home, "psql", "-Xqv", "ON_ERROR_STOP=1", "-o", "/dev/null", "-d", copy, stdin=script)
        assert value(copy, "SELECT i FROM small") == 1


def test_a_terminal_does_not_get_the_bytes(command: Command, backup: Backup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    said = command(backup.id, "--output", "-")

    assert (said.status, said.out) == (1, b"")
    assert "[OUTPUT_IS_TERMINAL]" in said.err


def test_a_directory_and_a_compressed_script(command: Command, round_trip: RoundTrip, backup: Backup) -> None:
    assert command(backup.id, "--format", "directory", "--output", "folder").status == 0
    assert command(backup.id, "--format", "plain", "--compress", "gzip", "--output", "x.sql.gz").status == 0

    assert left() == ["folder", "x.sql.gz"]
    assert sorted(path.suffix for path in Path("folder").iterdir()) == [".dat", ".zst", ".zst"]
    with another_database(round_trip) as copy:
        program(round_trip.home, "pg_restore", "-e", "-j2", "-d", copy, "folder")
        round_trip.assert_equal()
    assert Path("x.sql.gz").read_bytes().startswith(b"\x1f\x8b")


def test_the_key_comes_from_a_file_or_a_variable(
    command: Command, round_trip: RoundTrip, backup: Backup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    key = tmp_path / "key.txt"
    key.write_text(f"# mine\n{round_trip.coffre.identity}\n")
    monkeypatch.setenv("MY_KEY", round_trip.coffre.identity)

    assert command(backup.id, "--identity", key, "--output", "by-file").status == 0
    assert command(backup.id, "--identity", "env:MY_KEY", "--output", "by-variable").status == 0

    assert Path("by-file").read_bytes() == Path("by-variable").read_bytes()


def test_a_key_that_does_not_fit_is_said_before_anything_is_written(
    command: Command, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER", new_identity())
    monkeypatch.setenv("EMPTY", "")

    codes = {}
    for identity in ("env:OTHER", "env:EMPTY", "env:ABSENT", "no-such-file"):
        said = command(backup.id, "--identity", identity)
        assert (said.status, left()) == (1, [])
        codes[identity] = said.err.partition("[")[2].partition("]")[0]

    assert codes == {
        "env:OTHER": "WRONG_IDENTITY",
        "env:EMPTY": "IDENTITY_MISSING",
        "env:ABSENT": "IDENTITY_MISSING",
        "no-such-file": "IDENTITY_MISSING",
    }


@pytest.mark.parametrize("options", [(), ("--format", "directory"), ("--recipient", public_key(new_identity()))])
def test_a_damaged_frame_in_the_middle_stops_it_and_leaves_nothing(
    command: Command, round_trip: RoundTrip, backup: Backup, options: tuple[str, ...]
) -> None:
    wide = [entry for entry in round_trip.entries(backup) if entry.kind is EntryKind.TABLE and entry.size > 100_000]
    frame = wide[-1].frames[-1]
    body = bytearray(round_trip.coffre.objects(frame.pack)[frame.pack])
    body[frame.offset + frame.length - 20] ^= 1
    round_trip.coffre.put_object(frame.pack, bytes(body))

    said = command(backup.id, *options)

    assert (said.status, said.out, left()) == (1, b"", [])
    assert "[FRAME_DAMAGED]" in said.err


def test_a_backup_that_is_not_there_or_failed(command: Command, round_trip: RoundTrip, backup: Backup) -> None:
    unknown = command("01K9XAAAAAAAAAAAAAAAAAAAAA")

    assert (unknown.status, left()) == (1, [])
    assert "[BACKUP_UNKNOWN]" in unknown.err


@pytest.mark.parametrize("options", [(), ("--format", "directory"), ("--recipient", public_key(new_identity()))])
def test_a_full_disk_is_one_error_and_leaves_nothing(
    command: Command, backup: Backup, options: tuple[str, ...]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, limits[1]))
    try:
        said = command(backup.id, *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert (said.status, left()) == (1, [])
    assert "[OUTPUT_FULL]" in said.err


@pytest.mark.parametrize("options", [(), ("--recipient", public_key(new_identity())), ("--table", "small")])
def test_a_reader_that_goes_away_and_a_full_device_are_one_error_each(
    command: Command, backup: Backup, options: tuple[str, ...]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with stdout_is(writer):
        closed = command(backup.id, "--output", "-", *options)
    with stdout_is(os.open("/dev/full", os.O_WRONLY)):
        full = command(backup.id, "--output", "-", *options)

    assert (closed.status, full.status) == (1, 1)
    assert "[OUTPUT_CLOSED]" in closed.err
    assert "[OUTPUT_FULL]" in full.err


def test_what_makes_no_sense_is_wrong_usage(command: Command, backup: Backup) -> None:
    for options in (
        ("--format", "directory", "--recipient", public_key(new_identity())),
        ("--format", "directory", "--output", "-"),
        ("--no-owner",),
        ("--format", "tar"),
    ):
        assert command(backup.id, *options).status == 2
    assert "[RECIPIENT_INVALID]" in command(backup.id, "--recipient", "age1nonsense").err
    assert "[PATTERN_UNMATCHED]" in command(backup.id, "--table", "smal").err
    assert left() == []


def test_a_file_that_comes_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "x"
    making = output_file.new_file(path)
    making.__enter__().write(b"ours")
    path.write_bytes(b"theirs")

    with pytest.raises(ExportError, match="was created by another process"):
        making.__exit__(None, None, None)

    assert {item.name: item.read_bytes() for item in tmp_path.iterdir()} == {"x": b"theirs"}
