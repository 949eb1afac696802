"""docs/format/v1.md is true: the script that it names restores real backups, and it names all that the code stores."""

from __future__ import annotations

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pytest
from pydantic import BaseModel
from tests.integration.conftest import Coffre, beside
from tests.integration.contents import rows, run, schema_of
from tests.shared_server import own_databases

from coffre.model import manifest as model
from coffre.model.backup import Tier
from coffre.model.journal import JournalInterval, JournalSegment
from coffre.model.journal_lines import pieces_of
from coffre.model.manifest import DatabaseContent, Entry, EntryKind, Manifest
from coffre.postgres.connection import session_settings
from coffre.postgres.journal.changes import Begin, Commit, Delete, Line, Row, Unchanged, Update
from coffre.postgres.journal.test_decoding import decode
from coffre.postgres.journal.transactions import BaseSnapshot, outline
from coffre.stores.store import MAX_OBJECT_BYTES
from coffre.vault.codec import new_identity
from coffre.vault.entries import FRAME_SIZE_BYTES
from coffre.vault.pack import PACK_SIZE_BYTES
from coffre_cli.commands.keys.kit import restore
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint, load, sequences

ROOT: Final = Path(__file__).parents[3]
DOCUMENT: Final = ROOT / "docs" / "format" / "v1.md"
SCRIPT: Final = ROOT / "cli" / "coffre_cli" / "commands" / "keys" / "kit" / "restore.py"
MIB: Final = 1024 * 1024
# Program -> Debian package. The document asks for no other.
PROGRAMS: Final = {"age": "age", "zstd": "zstd"}
LARGE_OBJECTS: Final = """
SELECT m.oid::int, m.lomowner::regrole::text, obj_description(m.oid, 'pg_largeobject'), md5(lo_get(m.oid))
FROM pg_largeobject_metadata m ORDER BY 1
"""
# Names and values that a careless script trips over.
TRAPS: Final = (
    """CREATE SCHEMA "line
break $(touch trap) :x %s" """,
    r"""CREATE TABLE "line
break $(touch trap) :x %s"."tab	quote"" \ back 'tick' ;--" ("a
b" text, "%I" money, "-" interval, twice integer GENERATED ALWAYS AS (2) STORED)""",
    r"""INSERT INTO "line
break $(touch trap) :x %s"."tab	quote"" \ back 'tick' ;--" VALUES
        (E'\\.', '-1234.56', '-1 day +00:00:01'), (E'\\N', NULL, NULL), (E'\t\n\r\\', '0', NULL)""",
    "CREATE SEQUENCE last START 9223372036854775807",
    "SELECT nextval('last')",
    "CREATE TABLE seen (tag text)",
    """CREATE FUNCTION see() RETURNS event_trigger LANGUAGE plpgsql
    AS 'BEGIN INSERT INTO public.seen VALUES (tg_tag); END'""",
    "CREATE EVENT TRIGGER watch ON ddl_command_start EXECUTE FUNCTION see()",
)


def fenced(language: str) -> str:
    """Return the document's only block of a language."""
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    return str(block)


@dataclass
class Copy:
    """A downloaded copy of a vault with one backup, and the programs that the document asks for."""

    directory: Path
    home: Path
    backup_id: str
    manifest_sha256: str
    destination: str
    options: list[str] = field(default_factory=list)

    @property
    def manifest(self) -> Path:
        return self.directory / f"vault/v1/backups/shop/{self.backup_id}/manifest.json"

    def restore(self) -> subprocess.CompletedProcess[str]:
        """Run the script with Python's standard library alone."""
        url = urlsplit(self.destination)
        environment = {
            "PATH": os.pathsep.join([str(self.home / "bin"), os.environ["PATH"]]),
            "LD_LIBRARY_PATH": str(self.home / "lib"),
            "PGHOST": str(url.hostname),
            "PGPORT": str(url.port),
            "PGUSER": str(url.username),
            "TMPDIR": str(self._temporary),
        }
        command = [sys.executable, "-I", "-S", str(SCRIPT), "vault", "shop", self.backup_id, "--database"]
        command += [unquote(url.path[1:]), "--identity", "identity.txt", *self.options]
        if self.manifest_sha256:
            command += ["--manifest-sha256", self.manifest_sha256]
        return subprocess.run(command, cwd=self.directory, env=environment, capture_output=True, text=True, check=False)

    @property
    def _temporary(self) -> Path:
        directory = self.directory / "tmp"
        directory.mkdir(exist_ok=True)
        return directory

    def edit_manifest(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the manifest, as somebody could who can write to the vault but not to the catalog."""
        content = json.loads(self.manifest.read_text())
        change(content)
        self.manifest.write_text(json.dumps(content))

    def assert_stops(self, *words: str) -> None:
        """The script says why it stops, and leaves nothing in its temporary directory."""
        done = self.restore()
        assert done.returncode != 0
        assert all(word in done.stderr for word in words), done.stderr
        assert "Restored" not in done.stdout
        assert list(self._temporary.iterdir()) == []


@pytest.fixture(scope="module", autouse=True)
def _programs() -> None:
    missing = sorted(package for program, package in PROGRAMS.items() if shutil.which(program) is None)
    if missing:
        pytest.fail(f"Install what docs/format/v1.md asks for (.ci/run does): apt-get install {' '.join(missing)}")


@pytest.fixture
def destination(empty_database: str) -> Iterator[str]:
    """The URL of a fresh database beside the source."""
    with new_database(beside(empty_database, f"without_coffre_of_{urlsplit(empty_database).path[1:]}")) as url:
        yield url


class new_database:  # noqa: N801 - used like a function
    """A fresh database for the length of a block."""

    def __init__(self, url: str, options: str = "TEMPLATE template0") -> None:
        self._url = url
        self._options = options

    def __enter__(self) -> str:
        run(beside(self._url, "postgres"), f"CREATE DATABASE {urlsplit(self._url).path[1:]} {self._options}")
        return self._url

    def __exit__(self, *_: object) -> None:
        run(beside(self._url, "postgres"), f"DROP DATABASE {urlsplit(self._url).path[1:]} WITH (FORCE)")


def back_up(coffre: Coffre, source: str, destination: str, home: Path, directory: Path, **document: Any) -> Copy:
    """Back a database up with Coffre, and copy the vault as `aws s3 sync` would."""
    coffre.configure(source, **document)
    answer = coffre.backup()
    assert answer["status"] == "COMPLETED"
    for key, body in coffre.objects().items():
        file = directory / "vault" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
    (directory / "identity.txt").write_text(f"# the offline copy\n{coffre.identity}\n")
    sha256 = coffre.catalog.get_backup(answer["id"]).manifest_sha256
    assert sha256
    return Copy(directory, home, answer["id"], sha256, destination)


@pytest.fixture
def small(coffre: Coffre, shop: str, destination: str, postgresql_home: Path, tmp_path: Path) -> Copy:
    """A backup of the small shop."""
    return back_up(coffre, shop, destination, postgresql_home, tmp_path)


@pytest.mark.parametrize(
    "encryption", [{}, {"encryption": "none", "recipients": []}], ids=["encryption age", "encryption none"]
)
def test_the_script_restores_everything(
    encryption: dict[str, Any],
    coffre: Coffre,
    empty_database: str,
    destination: str,
    postgresql_home: Path,
    tmp_path: Path,
) -> None:
    # Given a backup of the sample database, with more that is odd
    load(empty_database, scale=0.02, large_objects=True)
    run(empty_database, *TRAPS)
    copy = back_up(coffre, empty_database, destination, postgresql_home, tmp_path, **encryption)
    if encryption:
        (tmp_path / "identity.txt").unlink()
    assert json.loads(copy.manifest.read_text())["encryption"] == encryption.get("encryption", "age")

    # When the script is run with nothing but the copy
    done = copy.restore()

    # Then rows, sequences, large objects, and the schema with owners and rights are the same
    assert (done.returncode, done.stderr) == (0, "")
    assert fingerprint(destination) == fingerprint(empty_database)
    assert sequences(destination) == sequences(empty_database)
    assert rows(destination, LARGE_OBJECTS) == rows(empty_database, LARGE_OBJECTS)
    assert len(rows(destination, LARGE_OBJECTS)) == 3
    assert schema_of(postgresql_home, destination) == schema_of(postgresql_home, empty_database)
    assert rows(destination, "TABLE seen") == []
    assert not (tmp_path / "trap").exists()

    # And it says so
    assert done.stdout.startswith(f"Restored {json.loads(copy.manifest.read_text())['rows']} rows into the database ")


def test_it_restores_a_later_backup(
    coffre: Coffre, shop: str, destination: str, postgresql_home: Path, tmp_path: Path
) -> None:
    back_up(coffre, shop, destination, postgresql_home, tmp_path)
    run(shop, "UPDATE customers SET name = 'Grace Hopper' WHERE id = 7")

    done = back_up(coffre, shop, destination, postgresql_home, tmp_path).restore()

    assert (done.returncode, done.stderr) == (0, "")
    assert fingerprint(destination) == fingerprint(shop)


def test_answers_that_are_not_read_hold_nothing_up(
    empty_database: str, postgresql_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a script makes thousands of large objects: the server answers each statement."""
    url = urlsplit(empty_database)
    monkeypatch.setenv("PATH", os.pathsep.join([str(postgresql_home / "bin"), os.environ["PATH"]]))
    monkeypatch.setenv("LD_LIBRARY_PATH", str(postgresql_home / "lib"))
    for name, value in (("PGHOST", url.hostname), ("PGPORT", url.port), ("PGUSER", url.username)):
        monkeypatch.setenv(name, str(value))
    database = restore.Database(url.path[1:], "UTF8")
    answered = [b"SELECT repeat('x', 200000);\n", b"--" + b"x" * 200_000 + b"\n", b"SELECT 1;\n"]

    assert database.refusal(answered, "--file=-") is None
    assert b"syntax error" in (database.refusal([*answered, b"SELECT FROM WHERE;\n"], "--file=-") or b"")
    with database.transaction() as refusal:
        assert refusal(answered) is None
        assert b"syntax error" in (refusal([*answered, b"SELECT FROM WHERE;\n"]) or b"")
        assert refusal([b"CREATE TABLE public.kept AS SELECT 1 AS a;\n"]) is None
    assert database.ask("TABLE public.kept;") == ["1"]


def test_it_restores_into_an_older_server(
    coffre: Coffre,
    server_of_major: Callable[[int], PostgresServer],
    postgresql_home: Path,
    tmp_path: Path,
) -> None:
    server = server_of_major(14)
    with own_databases(server, "source", "destination"):
        source, destination = server.dsn("source"), server.create_database("destination")
        load(source, scale=0.02, large_objects=True)
        copy = back_up(coffre, source, destination, postgresql_home, tmp_path)

        done = copy.restore()

        assert (done.returncode, done.stderr) == (0, "")
        assert fingerprint(destination) == fingerprint(source)
        assert sequences(destination) == sequences(source)


# What is made after the rows, and calls code that names things without their schema.
CODE: Final = (
    "CREATE SCHEMA app; CREATE TABLE app.rate AS SELECT 7 AS cents; SET search_path = public, app",
    "CREATE FUNCTION app.factor() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT max(cents) FROM rate'",
    "CREATE FUNCTION priced(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1 * factor(); END'",
    "CREATE FUNCTION lone(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'",
    "CREATE TABLE item AS SELECT g AS id, g AS n FROM generate_series(1, 3) g",
    "CREATE FUNCTION is_good(item) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN priced($1.n) > 0; END'",
    "ALTER TABLE item ADD CONSTRAINT good CHECK (is_good(item)), ADD PRIMARY KEY (id)",
    "CREATE INDEX by_price ON item (priced(n)); CREATE INDEX by_lone ON item (lone(n))",
    "COMMENT ON INDEX by_lone IS 'alone'; CREATE INDEX plain ON item (n)",
    "CREATE MATERIALIZED VIEW prices AS SELECT id, priced(n) AS cents FROM item",
    "CREATE MATERIALIZED VIEW lones AS SELECT lone(n) AS n FROM item",
    "DO 'BEGIN EXECUTE format(''ALTER DATABASE %I SET search_path = public, app'', current_database()); END'",
)


def test_what_needs_a_search_path_is_made_with_it_and_what_cannot_be_made_is_named(
    coffre: Coffre,
    server_of_major: Callable[[int], PostgresServer],
    postgresql_home: Path,
    tmp_path: Path,
) -> None:
    server = server_of_major(14)  # from 17 on, no code of an index or a materialized view gets a path
    with own_databases(server, "source", "destination", "other"):
        source = server.dsn("source")
        run(source, *CODE)
        copy = back_up(coffre, source, server.create_database("destination"), postgresql_home, tmp_path)

        done = copy.restore()

        assert (done.returncode, done.stderr) == (0, "")
        assert rows(copy.destination, "TABLE prices") == rows(source, "TABLE prices")
        assert schema_of(postgresql_home, copy.destination) == schema_of(postgresql_home, source)
        said = "made with the search_path public, app: without, the server refuses it."
        found = [line.partition(" postgres")[0] for line in done.stdout.splitlines() if line.endswith(said)]
        assert found[:2] == ["CHECK CONSTRAINT public item good", "INDEX public by_price"]
        assert found[2:] == [f'The rows of the materialized view "public"."prices": {said}']

        # What lacks a function is named with its statements, and all else is restored
        copy.destination = server.create_database("other")
        # It is in the archive, so that the table's own definition needs nothing that is left out
        copy.options = ["--leave-out", "FUNCTION public lone|MATERIALIZED VIEW public lones"]
        done = copy.restore()

        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].startswith("NOT COMPLETE: the server refused 2 definitions or views")
        assert "ERROR:  function public.lone(integer) does not exist" in done.stderr
        assert rows(copy.destination, "TABLE prices") == rows(source, "TABLE prices")
        assert rows(copy.destination, "SELECT to_regclass('plain') IS NULL, to_regclass('by_lone')") == [(False, None)]
        lone = "CREATE FUNCTION public.lone(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'"
        run(copy.destination, lone, (tmp_path / "not-made.sql").read_text())
        assert rows(copy.destination, "SELECT obj_description('by_lone'::regclass)") == [("alone",)]


@pytest.mark.parametrize("into", ["LATIN1", "UTF8"])
def test_it_restores_names_and_rows_of_other_encodings(
    into: str, coffre: Coffre, empty_database: str, postgresql_home: Path, tmp_path: Path
) -> None:
    name = urlsplit(empty_database).path[1:]
    options = "TEMPLATE template0 ENCODING '{}' LC_COLLATE 'C' LC_CTYPE 'C'"
    with (
        new_database(beside(empty_database, f"latin_{name}"), options.format("LATIN1")) as source,
        new_database(beside(empty_database, f"copy_{name}"), options.format(into)) as destination,
    ):
        run(source, 'CREATE TABLE "Größe" ("Maß" text)', """INSERT INTO "Größe" VALUES ('é'), ('ÿ')""")

        done = back_up(coffre, source, destination, postgresql_home, tmp_path).restore()

        assert (done.returncode, done.stderr) == (0, "")
        assert rows(destination, 'SELECT "Maß" FROM "Größe" ORDER BY 1') == [("é",), ("ÿ",)]


def test_it_makes_the_database_and_puts_names_that_are_no_utf8_back(
    coffre: Coffre, empty_database: str, postgresql_home: Path, tmp_path: Path
) -> None:
    name = urlsplit(empty_database).path[1:]
    made = beside(empty_database, f"made_{name}")
    options = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    with new_database(beside(empty_database, f"bytes_{name}"), options) as source:
        make = "DO $$ BEGIN EXECUTE format('CREATE TABLE %I AS SELECT %L AS %I', {0}, {0}, {0}); END $$"
        run(source, make.format("convert_from('\\xe9', 'SQL_ASCII')"))
        done = back_up(coffre, source, made, postgresql_home, tmp_path).restore()

    assert (done.returncode, done.stderr) == (0, "")
    exact = "SELECT convert_to(relname::text, 'SQL_ASCII') FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert [bytes(found) for (found,) in rows(made, exact)] == [b"\xe9"]
    assert rows(made, "SELECT getdatabaseencoding()") == [("SQL_ASCII",)]
    run(beside(made, "postgres"), f"DROP DATABASE {urlsplit(made).path[1:]}")


def test_it_stops_at_a_manifest_that_the_catalog_does_not_know(small: Copy) -> None:
    small.edit_manifest(lambda manifest: manifest.update(rows=0))

    small.assert_stops("the manifest is not the one that the catalog recorded")


def test_it_stops_at_the_manifest_of_another_backup(small: Copy) -> None:
    small.edit_manifest(lambda manifest: manifest.update(backup_id="01ARZ3NDEKTSV4RRFFQ69G5FAV"))
    small.manifest_sha256 = ""

    small.assert_stops("the manifest is of backup 01ARZ3NDEKTSV4RRFFQ69G5FAV")


def test_it_stops_at_another_format(small: Copy) -> None:
    small.edit_manifest(lambda manifest: manifest.update(format=2))
    small.manifest_sha256 = ""

    small.assert_stops("this script reads format 1, not 2")


def test_it_stops_at_a_list_of_entries_that_the_manifest_does_not_know(small: Copy) -> None:
    small.manifest.with_name("entries.jsonl.zst").write_bytes(b"")

    small.assert_stops("the entries file is not the one that the manifest recorded")


@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_it_stops_at_a_damaged_pack(where: str, small: Copy) -> None:
    for pack in (small.directory / "vault/v1/packs").glob("*/*"):
        body = bytearray(pack.read_bytes())
        body[{"first": 0, "middle": len(body) // 2, "last": -1}[where]] ^= 1
        pack.write_bytes(body)

    small.assert_stops("age:" if where != "first" else "")


def test_it_stops_at_a_truncated_pack(small: Copy) -> None:
    for pack in (small.directory / "vault/v1/packs").glob("*/*"):
        os.truncate(pack, pack.stat().st_size - 1)

    small.assert_stops("/000000-", ": it has no ", " bytes at ")


def test_it_stops_at_frames_that_open_but_hold_other_bytes(
    coffre: Coffre, shop: str, destination: str, postgresql_home: Path, tmp_path: Path
) -> None:
    copy = back_up(coffre, shop, destination, postgresql_home, tmp_path, encryption="none", recipients=[])
    other = subprocess.run(["zstd", "-c"], input=b"1\tMallory\n", capture_output=True, check=True).stdout
    for pack in (tmp_path / "vault/v1/packs").glob("*/*"):
        # As long as before: what is left is a skippable zstd frame, which opens to nothing.
        rest = pack.stat().st_size - len(other) - 8
        pack.write_bytes(other + b"\x50\x2a\x4d\x18" + rest.to_bytes(4, "little") + bytes(rest))

    copy.assert_stops("the bytes of an entry are not those that were backed up")


def test_it_stops_without_the_right_identity(small: Copy) -> None:
    (small.directory / "identity.txt").write_text(new_identity())
    small.assert_stops("age:", "it is not the private key of age1")

    (small.directory / "identity.txt").unlink()
    small.assert_stops("the private key cannot be read", "identity.txt")


def test_it_stops_at_a_database_that_is_not_empty(small: Copy) -> None:
    run(small.destination, "CREATE TABLE mine ()")

    small.assert_stops("is not empty")

    assert rows(small.destination, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [
        ("mine",)
    ]


def test_it_stops_when_the_numbers_of_rows_differ(small: Copy) -> None:
    def promise_more(manifest: dict[str, Any]) -> None:
        manifest["content"]["tables"][0]["rows"] += 1

    small.edit_manifest(promise_more)
    small.manifest_sha256 = ""

    small.assert_stops("customers", "50", "instead of 51")


def test_it_stops_when_a_role_is_missing_and_continues_as_it_is_asked_to(
    coffre: Coffre, empty_database: str, destination: str, postgresql_home: Path, tmp_path: Path
) -> None:
    run(
        empty_database,
        'CREATE ROLE "mis sing"',
        "CREATE TABLE t AS SELECT 1 AS a",
        'GRANT SELECT ON t TO "mis sing"',
    )
    copy = back_up(coffre, empty_database, destination, postgresql_home, tmp_path)
    run(empty_database, 'DROP OWNED BY "mis sing"', 'DROP ROLE "mis sing"')

    copy.assert_stops("the server lacks the role(s) mis sing", "--make-roles", "--no-owners")
    assert 'CREATE ROLE "mis sing";' in (tmp_path / "roles.sql").read_text()

    copy.options = ["--no-owners"]
    assert copy.restore().returncode == 0
    assert rows(destination, "TABLE t") == [(1,)]
    run(destination, "DROP TABLE t")

    copy.options = ["--make-roles"]
    assert copy.restore().returncode == 0
    granted = (
        "SELECT has_table_privilege('mis sing', 't', 'SELECT'), rolcanlogin FROM pg_roles WHERE rolname = 'mis sing'"
    )
    assert rows(destination, granted) == [(True, False)]
    run(destination, 'DROP OWNED BY "mis sing"', 'DROP ROLE "mis sing"')


def test_it_leaves_out_what_it_is_told_to(
    coffre: Coffre, empty_database: str, destination: str, postgresql_home: Path, tmp_path: Path
) -> None:
    run(empty_database, "CREATE TABLE t AS SELECT 1 AS a", "CREATE INDEX unwanted ON t (a)", "CREATE VIEW v AS TABLE t")
    copy = back_up(coffre, empty_database, destination, postgresql_home, tmp_path)
    copy.options = ["--leave-out", " INDEX public unwanted | VIEW public v "]

    assert copy.restore().returncode == 0

    assert rows(destination, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == [("t",)]


def test_the_example_of_a_manifest_is_one_with_every_field() -> None:
    example = json.loads(fenced("json"))

    manifest = Manifest.model_validate(example)

    assert json.loads(manifest.model_dump_json()) == example
    assert_every_field(example, Manifest)


def test_the_examples_of_entries_are_written_as_the_code_writes_them() -> None:
    lines = fenced("jsonl").splitlines()

    entries = [Entry.model_validate_json(line) for line in lines]

    assert [entry.model_dump_json(exclude_defaults=True) for entry in entries] == lines
    assert sorted(entry.name for entry in entries) == [entry.name for entry in entries]
    assert {entry.kind for entry in entries} == set(EntryKind) - {EntryKind.OBJECT}


def test_the_example_of_a_segment_is_read_as_the_document_says() -> None:
    example = fenced("ndjson")
    lines = [Line(*json.loads(line)) for line in example.splitlines()]

    begin, update, delete, commit = decode(lines)

    assert b"".join(pieces_of(lines)).decode() == example
    assert begin == Begin(745, 24305696)
    assert update == Update(
        ("public", "orders"), None, Row(("id", "note", "data"), ("7", "it's paid", Unchanged.TOAST))
    )
    assert delete == Delete(("public", "orders"), Row(("id",), ("8",)))
    assert isinstance(commit, Commit)
    assert (commit.lsn, commit.time.isoformat()) == (24306312, "2026-11-27T14:29:30.123456+00:00")
    # And by the snapshot of the example of a manifest, its rows are not in that base
    base = DatabaseContent.model_validate(json.loads(fenced("json"))["content"]).journal
    assert base is not None
    [transaction] = outline(lines)
    assert not BaseSnapshot.parse(base.snapshot, base.lsn).has(transaction)
    assert BaseSnapshot.parse("748:748:", 24306312).has(transaction)
    text = DOCUMENT.read_text()
    fields = {*JournalInterval.model_fields, *JournalSegment.model_fields}
    assert {name for name in fields if f"`{name}`" not in text} == set()


def assert_every_field(value: dict[str, Any], shape: type[BaseModel]) -> None:
    """A JSON object has exactly the fields of a model, and so have the first objects in it."""
    assert list(value) == list(shape.model_fields)
    for name, description in shape.model_fields.items():
        for inner in _models_in(description.annotation):
            item = value[name][0] if isinstance(value[name], list) else value[name]
            if item is not None:  # the other tables of the example have none
                assert_every_field(item, inner)


# What backups of buckets alone have: docs/format/buckets.md describes it.
_OF_BUCKETS = (model.StorageContent, model.BucketSummary, model.ObjectFacts)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if annotation in _OF_BUCKETS:
        return []
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in getattr(annotation, "__args__", ()) for found in _models_in(argument)]


def test_the_document_names_every_field_kind_and_tier() -> None:
    text = DOCUMENT.read_text()
    shapes = [
        shape
        for _, shape in inspect.getmembers(model, inspect.isclass)
        if issubclass(shape, BaseModel) and shape.__module__ == model.__name__ and shape not in _OF_BUCKETS
    ]
    fields = {name for shape in shapes for name in shape.model_fields}
    assert len(fields) > 40

    missing = {name for name in (*fields, *EntryKind, *Tier) if f"`{name}`" not in text}

    assert missing == set()


def test_writers_stay_within_the_documents_limits() -> None:
    (table,) = re.findall(r"^\| limit \| \|\n\|---\|---\|\n(.*?)\n\n", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    limits = {what: int(size) * MIB for what, size in re.findall(r"^\| (.+?) \| (\d+) MiB \|$", table, re.MULTILINE)}

    assert limits["plaintext of a frame"] >= FRAME_SIZE_BYTES
    assert limits["a pack"] >= PACK_SIZE_BYTES + MIB  # or one frame that is a little larger
    assert limits["the manifest"] == limits["a file of entries, compressed"] == limits["a pack"] == MAX_OBJECT_BYTES


def test_the_documents_settings_are_those_of_the_sessions_that_read() -> None:
    (table,) = re.findall(r"^\| setting \| for \|\n(.*?)\n\n", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    settings = re.findall(r"`(\w+ = [^`]+)`", table)
    assert len(settings) > 5

    missing = [setting for setting in settings if f'"SET {setting}"' not in inspect.getsource(session_settings)]

    assert missing == []
