#!/usr/bin/env python3
"""Restore backups that Coffre made, without Coffre.

Needs python3 (3.9 or newer), `age` and `zstd`; for a database `psql` and `pg_restore` too, the latter as new as the
`pg_dump` that made the backup. It reads a vault in format 1 from a directory: copy the bucket there first.
It writes only where --database or --directory says, and nothing into the vault.
"""

from __future__ import annotations

import argparse
import bisect
import collections
import contextlib
import datetime
import hashlib
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any, NamedTuple, NoReturn

FORMAT = 1
# No frame, pack, manifest, file of entries or line of it is longer.
LARGEST = 64 << 20
# What a vault that says something else than the format raises.
FORGED = (KeyError, TypeError, ValueError, AttributeError, RecursionError)
AGE_FILE = b"age-encryption.org/v1\n"
AGE_TEXT = b"-----BEGIN AGE ENCRYPTED FILE-----"
# How values are written in a backup, and no limits.
SETTINGS = """SET statement_timeout = 0; SET row_security = off; SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres'; SET lc_monetary = 'C'; SET TimeZone = 'UTC'; SET xmloption = 'content';
SET standard_conforming_strings = on; SET search_path = pg_catalog;"""
# Servers before 17 do not know transaction_timeout.
NO_TIMEOUT = b"SET transaction_timeout = 0;\n"
NO_TIMEOUT_ANYWHERE = (
    b"SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout';\n"
)
OURS = "pg_catalog"
# The status of a psql that has no connection.
LOST = 2
# Says whether the statements before it were refused; what they print is not read.
ANSWER = b"\\o\nSELECT :'ERROR';\n\\o /dev/null\n"
PART_BEGINS = b"SAVEPOINT part;\n"
PART_ENDS = b"""\\set is_refused :ERROR
\\if :is_refused
ROLLBACK TO SAVEPOINT part;
\\endif
RELEASE SAVEPOINT part;
\\o
SELECT :'is_refused';
\\o /dev/null
"""
TOO_OLD = "It has to be as new as the backup's pg_dump"
# In a script of pg_restore.
UNSAFE = (
    "This pg_restore is older than August 2025: if the backup was forged, it can run programs on this machine. Use a "
    "newer minor of it, or prove by --manifest-sha256 that the backup is genuine."
)
NO_PATH = b"SELECT pg_catalog.set_config('search_path', '', false);\n"
WARNINGS, ERRORS_ALONE = b"SET client_min_messages = warning;\n", b"SET client_min_messages = error;\n"
EVENT_TRIGGER = re.compile(rb"\d+; \d+ \d+ ((COMMENT|SECURITY LABEL) - )?EVENT TRIGGER ")


def visible(text: str) -> str:
    """Return a text in which no name can move the cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def stop(why: str) -> NoReturn:
    """End with status 1."""
    sys.exit(f"STOP: {visible(why)}")


def damaged(what: str, why: str) -> NoReturn:
    """End, as something in the vault is not as it should be."""
    stop(f"{what}: {why}. Copy it again; if it is the same there, restore another backup")


def say(text: str) -> None:
    print(visible(text))


def warn(text: str) -> None:
    print(visible(text), file=sys.stderr)


@contextlib.contextmanager
def incomplete(what: str) -> Iterator[None]:
    """Say of what is being made that it is incomplete, before the reason why the block ends early."""
    try:
        yield
    except BaseException:
        warn(f"{what} is incomplete: remove it before you start again.")
        raise


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def program(name: str) -> str:
    """Return where a program is."""
    return shutil.which(name) or stop(
        f"the program {name} is not installed, or not in PATH: README.md has the packages"
    )


def filtered(data: bytes, *command: str, hint: str) -> bytes:
    """Return what a program makes of the bytes; its complaints go to the terminal."""
    ended = subprocess.run([program(command[0]), *command[1:]], input=data, stdout=subprocess.PIPE, check=False)
    if ended.returncode:
        stop(f"{command[0]} ended with status {ended.returncode}: {hint}")
    return ended.stdout


@contextlib.contextmanager
def unpacking(data: bytes, what: str) -> Iterator[IO[bytes]]:
    """Yield a stream of what zstd makes of the bytes. It may be far more than they are: read what is promised."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        command = [program("zstd"), "--decompress", "--quiet", "--stdout"]
        with subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE) as zstd:
            assert zstd.stdout is not None  # noqa: S101 (it is a pipe)
            try:
                yield zstd.stdout
                if zstd.stdout.read(1):
                    damaged(what, "it is longer than it should be")
            except BaseException:
                zstd.kill()
                raise
        if zstd.returncode:
            damaged(what, f"zstd ended with status {zstd.returncode}")


# --- The vault ---


class Backup:
    """One backup in a copy of a vault: its manifest, its entries, and their bytes, each checked by its SHA-256."""

    def __init__(self, vault: pathlib.Path, target: str, backup_id: str, expected_sha256: str | None = None) -> None:
        self.vault, self.id = vault, backup_id
        key = f"v1/backups/{target}/{backup_id}/manifest.json"
        if not (vault / key).exists():
            stop(f"no backup {backup_id} of {target} exists here: {vault / key}: list them with VAULT alone")
        body = stored(vault, key)
        if expected_sha256 and sha256(body) != expected_sha256.lower():
            stop(f"the manifest is not the one that the catalog recorded: {key}")
        try:
            self.manifest: dict[str, Any] = json.loads(body)
            found = [self.manifest[field] for field in ("format", "backup_id", "target")]
        except FORGED as error:
            damaged(key, f"it is no manifest ({type(error).__name__}: {error})")
        if found[0] != FORMAT:
            stop(f"this script reads format {FORMAT}, not {found[0]}: use that of a newer Coffre")
        if found[1:] != [backup_id, target]:
            damaged(key, f"the manifest is of backup {found[1]} of {found[2]}")
        self.identity: pathlib.Path | None = None
        self._opened: tuple[Any, bytes] = (None, b"")

    def open_with(self, identity: pathlib.Path | None, work: pathlib.Path) -> None:
        """Take the private key; the passphrase of an encrypted key file is asked for once, here."""
        if self.manifest["encryption"] == "none":
            return
        if identity is None:
            stop(f"the backup is encrypted to {self._recipients}: give the file with the private key, --identity FILE")
        try:
            start = identity.read_bytes()[:64]
        except OSError as error:
            stop(f"the private key cannot be read: {identity}: {error.strerror}")
        self.identity = identity
        if start.startswith((AGE_FILE, AGE_TEXT)):
            self.identity = work / "identity.txt"  # the directory is closed to others, and is removed at the end
            age = [program("age"), "--decrypt", "--output", str(self.identity), str(identity)]
            if subprocess.run(age, check=False).returncode:
                stop("the passphrase did not open the file with the private key")

    @property
    def _recipients(self) -> str:
        return ", ".join(self.manifest["recipients"])

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the entries, sorted by name."""
        files = self.manifest["entries"]
        for file in [files] if isinstance(files, dict) else files:
            body = stored(self.vault, file["key"])
            if sha256(body) != file["sha256"]:
                damaged(file["key"], "the entries file is not the one that the manifest recorded")
            with unpacking(body, file["key"]) as lines:
                yield from map(json.loads, iter(lambda: lines.readline(LARGEST), b""))

    def chunks(self, entry: dict[str, Any]) -> Iterator[bytes]:
        """Yield the bytes of an entry. It stops at the end when they are not those that were backed up."""
        skip, left, digest = entry.get("start", 0), entry["size"], hashlib.sha256()
        for frame in entry.get("frames", []):
            piece = self._frame(frame)[skip : skip + left]
            skip, left = 0, left - len(piece)
            digest.update(piece)
            yield piece
        if left or digest.hexdigest() != entry["sha256"]:
            damaged(repr(entry["name"]), "the bytes of an entry are not those that were backed up")

    def _frame(self, frame: dict[str, Any]) -> bytes:
        where = (frame["pack"], frame["offset"])
        if self._opened[0] != where:  # small entries share a frame with their neighbours
            self._opened = (where, self.decoded(frame))
        return self._opened[1]

    def setting(self, entry: dict[str, Any]) -> bytes:
        """Return the value of a setting, without the line before it. A file that was handed in is encrypted twice."""
        line, _, value = b"".join(self.chunks(entry)).partition(b"\n")
        sealed = json.loads(line).get("sealed")
        if sealed is None:
            return value
        plain = self._plain(value, sealed["size"], repr(entry["name"]))
        if sha256(plain) != sealed["sha256"]:
            damaged(repr(entry["name"]), "the bytes of an entry are not those that were handed in")
        return plain.partition(b"\n")[2]

    def decoded(self, frame: dict[str, Any]) -> bytes:
        """Return the plaintext of a frame."""
        what = f"{frame['pack']} at {frame['offset']}"
        plain = self._plain(stored(self.vault, frame["pack"], frame["offset"], frame["length"]), frame["size"], what)
        if sha256(plain) != frame["sha256"]:
            damaged(what, "the bytes of an entry are not those that were backed up")
        return plain

    def _plain(self, data: bytes, size: int, what: str) -> bytes:
        if not 0 <= size <= LARGEST:
            damaged(what, f"no frame has {size} bytes")
        if self.identity is not None or data.startswith(AGE_FILE):
            if self.identity is None:
                damaged(what, "it is encrypted, though the manifest says that nothing is")
            hint = f"{what}: the bytes are damaged, or it is not the private key of {self._recipients}"
            data = filtered(data, "age", "--decrypt", "--identity", str(self.identity), hint=hint)
        with unpacking(data, what) as stream:
            return stream.read(size)


def stored(vault: pathlib.Path, key: str, offset: int = 0, length: int | None = None) -> bytes:
    """Return an object of the vault, or bytes of it."""
    if not key.startswith("v1/") or ".." in key.split("/"):
        stop(f"the backup names something outside the vault: {key!r}")
    try:
        with (vault / key).open("rb") as file:
            file.seek(offset)
            data = file.read(LARGEST + 1 if length is None else max(0, min(length, LARGEST + 1)))
    except (OSError, ValueError) as error:
        damaged(key, f"it is missing from the copy of the vault, or cannot be read ({error})")
    if length is not None and len(data) != length:
        damaged(key, f"it has no {length} bytes at {offset}")
    if len(data) > LARGEST:
        damaged(key, f"it is longer than the {LARGEST} bytes that it can have")
    return data


def backups(vault: pathlib.Path, target: str = "*") -> list[tuple[str, str]]:
    """Return the targets and ids of all complete backups, the oldest first: ids sort by time."""
    found = (vault / "v1/backups").glob(f"{target}/*/manifest.json")
    return sorted(((path.parent.parent.name, path.parent.name) for path in found), key=lambda one: one[1])


def show(vault: pathlib.Path) -> None:
    """Print what the vault has."""
    found = backups(vault)
    if not found:
        stop(f"no backup was found below {vault}: it is the directory that contains v1/")
    for target, backup_id in found:
        try:
            manifest = Backup(vault, target, backup_id).manifest
            of_objects = manifest["kind"] != "database"
            amount = f"{manifest['content']['objects']} objects" if of_objects else f"{manifest['rows']} rows"
            say(f"{target}  {backup_id}  {manifest['created_at'][:16]}  {manifest['kind']}  {amount}")
        except (*FORGED, SystemExit) as error:  # it hides no other one
            warn(f"{target}  {backup_id}  cannot be restored: {error}")


# --- Buckets: into a directory ---


def is_safe(path: str) -> bool:
    """Return whether a key is a path below the directory, on every system."""
    parts = path.split("/")
    return (
        path.isprintable()
        and not {"\\", ":"} & set(path)
        and all(part and part[-1] not in ". " and len(part.encode()) < 256 for part in parts)
    )


def restore_buckets(backup: Backup, directory: pathlib.Path) -> None:
    """Make a directory, with a file for each object."""
    try:
        directory.mkdir()
        (directory / "renamed").mkdir()
    except OSError as error:
        stop(f"{directory} is not a new directory: {error.strerror}")
    with incomplete(f"The directory {directory}"):
        write_objects(backup, directory)


def write_objects(backup: Backup, directory: pathlib.Path) -> None:
    """Write each object to a file: under its own name, or, where that is none for a file, numbered."""
    count = lacking = 0
    with (directory / "index.jsonl").open("w", encoding="utf-8") as index:
        for entry in backup.entries():
            known_kind(entry, "object")
            if "unread" in entry["object"]:
                lacking += 1
                warn(f"not in the backup: {entry['name']!r}: {entry['object']['unread']}")
                continue
            path = write(backup, entry, directory, f"renamed/{count:08d}")
            index.write(json.dumps({**entry["object"], "file": path, "name": entry["name"]}) + "\n")
            count += 1
    say(f"Restored {count} objects into {directory}. {lacking} are not in the backup.")
    say(
        f"{directory / 'index.jsonl'} has the bucket and key, headers and tags of each. Files whose key is no safe name"
    )
    say(f"are in {directory / 'renamed'}.")


def write(backup: Backup, entry: dict[str, Any], directory: pathlib.Path, other: str) -> str:
    """Write an object and return its path in the directory."""
    wanted = f"objects/{entry['name']}"
    for path in [wanted, other] if is_safe(wanted) else [other]:
        try:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            file = (directory / path).open("xb")
        except OSError:  # a key can be a folder of another one, too long, or the same but for the case of its letters
            if path == other:
                raise
            continue
        with file:
            is_setting = backup.manifest["kind"] == "settings"
            file.writelines([backup.setting(entry)] if is_setting else backup.chunks(entry))
        return path
    raise AssertionError


# --- Databases ---


class Database:
    """A database that libpq's variables (PGHOST, PGUSER, PGPASSWORD...) and a name lead to.

    In a database without an encoding (SQL_ASCII) names are bytes: the vault writes those that are no UTF-8 as
    characters of a private range.
    """

    def __init__(self, name: str, encoding: str) -> None:
        self.is_ascii = encoding == "SQL_ASCII"
        client = "SQL_ASCII" if self.is_ascii else "UTF8"
        self.environment = {**os.environ, "PGDATABASE": name, "PGCLIENTENCODING": client}

    def bytes_of(self, text: str) -> bytes:
        if "\0" in text:  # psql would not read what follows, the quote that ends a name among it
            stop("the backup has a name or a value with the character NUL, which no database has: it was forged")
        if not self.is_ascii:
            return text.encode()
        return b"".join(bytes([ord(c) - 0xEF00]) if "\uef80" <= c <= "\uefff" else c.encode() for c in text)

    def text_of(self, data: bytes) -> str:
        text = data.decode("utf-8", "surrogateescape")
        return "".join(chr(ord(c) - 0xDC00 + 0xEF00) if "\udc80" <= c <= "\udcff" else c for c in text)

    def _psql(self, *options: str | bytes) -> list[str | bytes]:
        return [program("psql"), "--no-psqlrc", "-qAt", "--set=ON_ERROR_STOP=1", f"--command={SETTINGS}", *options]

    def attempt(self, sql: str, database: str | None = None) -> tuple[int, list[str], bytes]:
        """Return psql's status, the lines that the server answers, and what it says."""
        environment = {**self.environment, **({"PGDATABASE": database} if database else {})}
        command, sent = self._psql("--file=-"), self.bytes_of(sql)
        ended = subprocess.run(command, input=sent, capture_output=True, check=False, env=environment)
        return ended.returncode, self.text_of(ended.stdout).split("\n")[:-1], ended.stderr

    def ask(self, sql: str, database: str | None = None) -> list[str]:
        status, answer, said = self.attempt(sql, database)
        return refuse(said, status) if status else answer

    def ask_json(self, sql: str) -> list[Any]:
        """Return the rows that the server puts together; where there is none, it answers NULL."""
        return list(json.loads("".join(self.ask(sql)) or "[]"))

    def refusal(self, chunks: Iterable[bytes], *options: str | bytes) -> bytes | None:
        """Send bytes to psql, and return what it says if the server refuses some of them; None: it does not."""
        status, said = self.sent(chunks, *options)
        if status:
            return said
        tell(said)
        return None

    def sent(self, chunks: Iterable[bytes], *options: str | bytes) -> tuple[int, bytes]:
        """Send bytes to psql, and return its status and what it says.

        When they cannot be read to the end, the server drops those that it has.
        """
        with tempfile.TemporaryFile() as said:
            with self._started(said, *options) as psql:
                assert psql.stdin is not None  # noqa: S101 (it is a pipe)
                with contextlib.suppress(BrokenPipeError):  # its status says why
                    psql.stdin.writelines(chunks)
                    psql.stdin.close()
                status = psql.wait()
            said.seek(0)
            if status == LOST:
                refuse(said.read(), status)
            return status, said.read()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Callable[..., bytes | None]]:
        """Yield what executes statements in one transaction: all of them, or it returns why none is.

        What makes savepoints is no part, which is one itself. Leaving it commits; an error drops everything.
        """
        with tempfile.TemporaryFile() as said, self._started(said, "--set=ON_ERROR_STOP=0", "--file=-") as psql:
            stdin, stdout, known = psql.stdin, psql.stdout, 0
            assert stdin is not None and stdout is not None  # noqa: S101, PT018 (they are pipes)

            def refusal(lines: Iterable[bytes]) -> bytes | None:
                nonlocal known
                with contextlib.suppress(BrokenPipeError):  # then it has no answer
                    stdin.writelines(lines)
                    stdin.flush()
                answer = stdout.readline()
                # Not by `read`: psql writes where this file is read.
                why = os.pread(said.fileno(), os.fstat(said.fileno()).st_size - known, known)
                known += len(why)
                if answer == b"false\n":
                    tell(why)
                    return None
                return why if answer else refuse(why, LOST)

            refusal([b"BEGIN;\n", ANSWER])
            yield lambda statements, is_part=True: refusal(
                [PART_BEGINS, *statements, PART_ENDS] if is_part else [*statements, ANSWER]
            )
            why = refusal([b"COMMIT;\n", ANSWER])
            if why is not None:
                refuse(why)

    @contextlib.contextmanager
    def _started(self, said: IO[bytes], *options: str | bytes) -> Iterator[subprocess.Popen[bytes]]:
        """Yield a psql, which is ended with the block. It prints no answers: they would have to be read."""
        command, pipe = self._psql("--output=/dev/null", *options), subprocess.PIPE
        psql = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=said, env=self.environment)
        try:
            yield psql
        finally:
            psql.kill()
            for end in (psql.stdin, psql.stdout):
                with contextlib.suppress(BrokenPipeError):
                    end.close()  # type: ignore[union-attr] # they are pipes
            psql.wait()


def shown(said: bytes) -> str:
    """Return a line of what a program has said."""
    return visible(said.decode("utf-8", "replace").expandtabs().rstrip("\r\n"))


def tell(said: bytes) -> None:
    """Print what a program has said."""
    for line in said.splitlines():
        print(shown(line), file=sys.stderr)


def refuse(why: bytes, status: int = 0) -> NoReturn:
    tell(why)
    if status == LOST:
        stop("there is no connection to the server (PGHOST, PGPORT, PGUSER, PGPASSWORD...): see above")
    stop("the server refused a part of the backup: see above")


def under(path: str) -> str:
    return f"SELECT pg_catalog.set_config('search_path', {text(path)}, false);\n"


def paths_of(content: dict[str, Any], owner: Callable[[], str]) -> Iterator[str]:
    """Yield ours, and the search_paths that an owner's code may have been written for, the likeliest first.

    A check, a domain, an index or a view can call what names things without their schema: it fails under ours.
    """
    yield OURS
    role = owner()
    known = [(one.get("role"), one["path"]) for one in content.get("search_paths", [])]
    known.append((None, '"$user", public'))
    known.sort(key=lambda one: [role, None].index(one[0]) if one[0] in (role, None) else 2)
    paths = [path.replace('"$user"', name(role)) for _, path in known]
    yield from dict.fromkeys(path for path in paths if path.strip() not in ("", '""', OURS))


def owner_of(database: Database, table: tuple[str, str]) -> str:
    """Return who owns a table or a view; nothing: it does not exist."""
    found = f"SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass({text(name(*table))});"  # noqa: S608
    return "".join(database.ask(found))


def first_path(paths: Iterable[str], refusal: Callable[[str], bytes | None]) -> tuple[str | None, bytes]:
    """Return the first path under which the server does not refuse something, and what it says under the first."""
    said: dict[str, bytes] = {}
    for path in paths:
        if path not in said:
            why = refusal(path)
            if why is None:
                return path, b""
            said[path] = why
    return None, next(iter(said.values()))


def say_path(what: str, path: str, them: str = "them") -> None:
    """Say which path something needed, if it is not ours."""
    if path != OURS:
        say(f"{what} with the search_path {path}: without, the server refuses {them}.")


def name(*parts: str) -> str:
    """Return an SQL name."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def text(value: str) -> str:
    """Return an SQL text."""
    return "'" + value.replace("'", "''") + "'"


def make_database(database: Database, content: dict[str, Any], wanted: str) -> None:
    """Make the database, if it does not exist, with the encoding and locale of the source."""
    inside = "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema$)';"
    status, found, _ = database.attempt(inside)
    if not status:
        return None if found == ["0"] else stop(f"the database {wanted} is not empty: name a new one")
    make = f"CREATE DATABASE {name(wanted)} TEMPLATE template0 ENCODING {text(content['encoding'])}"
    locale = content.get("locale") or "C"
    like = f" LC_COLLATE {text(locale)} LC_CTYPE {text(locale)}"
    provider = content.get("locale_provider")
    if provider in ("icu", "builtin") and content.get("provider_locale"):
        like += f" LOCALE_PROVIDER {provider} {provider.upper()}_LOCALE {text(content['provider_locale'])}"
    if database.attempt(f"{make}{like};", "postgres")[0]:
        database.ask(f"{make} LC_COLLATE 'C' LC_CTYPE 'C';", "postgres")
        say(f"This server has no locale like the source's ({locale}): texts sort by their bytes in {wanted}.")
    return None


def make_roles(database: Database, backup: Backup, roles: bytes | None, *, make: bool) -> None:
    """Stop when a role of the backup is missing, or make it, without a login."""
    known = database.ask_json("SELECT json_agg(rolname) FROM pg_roles;")
    missing = [role for role in backup.manifest["content"].get("roles", []) if role not in known]
    if not missing:
        return
    if roles:
        pathlib.Path("roles.sql").write_bytes(roles)
    if not make:
        stop(
            f"the server lacks the role(s) {', '.join(missing)}. --make-roles makes them without a login, --no-owners "
            "does without owners and privileges; roles.sql has their statements, to look at and run with psql"
        )
    database.ask("\n".join(f"CREATE ROLE {name(role)} NOLOGIN;" for role in missing))
    say(f"Made without a login and without attributes (roles.sql has those): {', '.join(missing)}")


class Archive:
    """A pg_dump archive and a database that it is restored into; it keeps what that refuses."""

    def __init__(self, path: pathlib.Path, database: Database, content: dict[str, Any], options: Iterable[str]) -> None:
        self.path, self.database, self.content, self.options = path, database, content, options
        self.refused = list[bytes]()

    def listed(self) -> list[bytes]:
        return filtered(b"", "pg_restore", "--list", str(self.path), hint=TOO_OLD).splitlines(keepends=True)

    def restore(self, section: str, listed: list[bytes] | None = None) -> None:
        """Restore a section, or some lines of its list; the first error stops it."""
        why = self.database.refusal(self._script(section, listed), "--file=-")
        if why is not None:
            refuse(why)

    def complete(self, listed: list[bytes]) -> None:
        """Make what comes after the rows: indexes, constraints, triggers and the like.

        What is refused is tried again, one after the other, under the search_paths that its code may need.
        """
        ids = ((line, re.match(rb"(\d+); (\d+) (\d+) ", line)) for line in listed)
        headers = {b"-- TOC entry %b (class %b OID %b)\n" % found.groups(): line for line, found in ids if found}
        begun: list[tuple[int, bytes]] = []

        def script() -> Iterator[bytes]:
            instead = {WARNINGS: ERRORS_ALONE}
            for number, line in enumerate(self._script("post-data", listed, "--verbose", instead=instead), 1):
                entry = headers.pop(line, None)
                if entry is not None:
                    begun.append((number, entry))
                yield line

        status, said = self.database.sent(script(), "--set=ON_ERROR_STOP=0", "--file=-")
        refused: dict[bytes, bytes] = {}
        for why in re.split(rb"^(?=psql:<stdin>:\d+: )", said, flags=re.MULTILINE):
            line = re.match(rb"psql:<stdin>:(\d+): ", why)
            place = bisect.bisect([number for number, _ in begun], int(line[1])) if line else 0
            if status or (line and not place):
                refuse(said, status)
            if place:
                refused.setdefault(begun[place - 1][1], why)
            else:
                tell(why)
        for entry, why in refused.items():
            self._again(entry, why)

    def _again(self, entry: bytes, first: bytes) -> None:
        script = b"".join(self._script("post-data", [entry]))
        owner = re.search(rb"^-- Name: .*; Owner: (.*?)(?:; Tablespace: .*)?$", script, re.MULTILINE)
        role = self.database.text_of(owner[1] if owner else b"")

        def refusal(path: str) -> bytes | None:
            other = self.database.bytes_of(under(path))
            return self.database.refusal([script.replace(NO_PATH, other, 1)], "--single-transaction", "--file=-")

        path, _ = first_path(paths_of(self.content, lambda: role), refusal)
        what = shown(entry.split(b" ", 3)[3])
        body = b"-- Name: " + script.partition(b"\n-- Name: ")[2].rpartition(b"\n--\n-- PostgreSQL database dump")[0]
        self._made(path, what, first, body)

    def fill(self, views: Iterable[dict[str, Any]]) -> None:
        """Compute materialized views again."""
        for one in views:
            view = (one["schema_name"], one["relation_name"])
            owner = owner_of(self.database, view)
            if not owner:  # it was left out
                continue
            refresh = self.database.bytes_of(f"REFRESH MATERIALIZED VIEW {name(*view)};\n")

            def refusal(path: str, refresh: bytes = refresh) -> bytes | None:
                # What a policy hides from its owner is hidden from the view.
                settings = f"SET row_security = on; {under(path)}"
                return self.database.refusal([self.database.bytes_of(settings), refresh], "--file=-")

            path, why = first_path(paths_of(self.content, lambda owner=owner: owner), refusal)  # type: ignore[misc]
            self._made(path, f"The rows of the materialized view {name(*view)}", why, refresh)

    def _made(self, path: str | None, what: str, why: bytes, statements: bytes) -> None:
        if path is None:
            say(f"{what}: the server refuses it:")
            tell(why)
            self.refused.append(
                b"".join(b"-- %b\n" % shown(line).encode() for line in why.splitlines()) + statements + b"\n"
            )
        else:
            say_path(f"{what}: made", path, "it")

    def _script(
        self, section: str, listed: list[bytes] | None, *options: str, instead: dict[bytes, bytes] | None = None
    ) -> Iterator[bytes]:
        """Yield the lines of pg_restore's script; the first of some is another one."""
        command = [program("pg_restore"), "--file=-", f"--section={section}", *self.options, *options]
        with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile() as wanted:
            if listed is not None:
                wanted.writelines(listed)
                wanted.flush()
                command.append(f"--use-list={wanted.name}")
            command.append(str(self.path))
            changes, is_safe = {NO_TIMEOUT: NO_TIMEOUT_ANYWHERE, **(instead or {})}, section != "pre-data"
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=said, env=self.database.environment
            ) as reader:
                assert reader.stdout is not None  # noqa: S101 (it is a pipe)
                for line in reader.stdout:
                    is_safe = is_safe or line.startswith(b"\\restrict ")
                    if line == WARNINGS and not is_safe:
                        say(UNSAFE)
                    yield changes.pop(line, line)
            if reader.returncode:
                said.seek(0)
                tell(b"\n".join(said.read().splitlines()[-5:]))
                stop(f"pg_restore could not read the archive: see above. {TOO_OLD}")


def load_tables(database: Database, backup: Backup) -> None:
    """Load all slices, the tables that keys of extensions' tables point at first."""
    content = backup.manifest["content"]
    tables = {(one["schema_name"], one["table_name"]): one for one in content["tables"]}
    slices = collections.defaultdict(list)
    for entry in backup.entries():
        if known_kind(entry, "table", "schema", "roles", "large_objects") == "table":
            slices[entry["relation"]["schema_name"], entry["relation"]["relation_name"]].append(entry)
    by_oid = {one["oid"]: place for place, one in tables.items()}
    done = set()

    def load(place: tuple[str, str]) -> None:
        if place in done:
            return
        done.add(place)
        for oid in tables[place].get("after", []):
            if oid in by_oid:
                load(by_oid[oid])
        if place in slices:
            into, columns = root_of(tables[place])[0], ", ".join(map(name, tables[place]["columns"]))
            encoding = f"(ENCODING {text(content['encoding'])})"
            copy = f"COPY {name(*into)}{f' ({columns})' if columns else ''} FROM STDIN {encoding}"

            paths = list[str]()
            # What refuses the first slice refuses the others: all of them are read again only where it does not.
            found = slices[place]
            for part in [found] if tables[place].get("of_extension") else filter(None, [found[:1], found[1:]]):

                def refusal(path: str, part: list[dict[str, Any]] = part) -> bytes | None:
                    rows = (chunk for entry in part for chunk in backup.chunks(entry))
                    return database.refusal(rows, f"--command={under(path)}", database.bytes_of(f"--command={copy}"))

                known = paths_of(content, lambda: owner_of(database, into))
                path, why = first_path(itertools.chain(paths[-1:], known), refusal)
                paths.append(path or refuse(why))
            for path in dict.fromkeys(paths):
                say_path(f"Rows of {name(*into)} were loaded", path)

    for place in list(slices):
        if place not in tables:
            stop(f"the manifest does not describe the table {place!r}")
        load(place)


def root_of(table: dict[str, Any]) -> tuple[tuple[str, str], bool]:
    """Return the table that rows are loaded into, and whether it is the root of the partition that they were in."""
    root = table.get("through")
    if root:
        return (root["schema_name"], root["relation_name"]), True
    return (table["schema_name"], table["table_name"]), False


def set_sequences(database: Database, sequences: list[dict[str, Any]]) -> None:
    """Let the sequences continue where those of the source were."""
    calls = (
        f"SELECT setval({text(name(one['schema_name'], one['sequence_name']))}::regclass, {int(one['last_value'])}, "
        f"{bool(one['is_called'])});\n"
        for one in sequences
    )
    database.ask("".join(calls))


def check_rows(database: Database, tables: list[dict[str, Any]]) -> None:
    """Compare the numbers of rows with the backup's. Rows that went through a root are counted together, below it."""
    counts: dict[tuple[str, str], int] = collections.defaultdict(int)
    roots = set()
    for table in tables:
        if not table.get("of_extension"):
            place, is_root = root_of(table)
            counts[place] += table["rows"]
            roots |= {place} if is_root else set()
    ones = (f"{'' if place in roots else 'ONLY '}{name(*place)}" for place in counts)
    found = database.ask("".join(f"SELECT count(*) FROM {one};\n" for one in ones))  # noqa: S608 (quoted names)
    wrong = [
        f"{place!r} has {found[number]} instead of {rows}"
        for number, (place, rows) in enumerate(counts.items())
        if int(found[number]) != rows
    ]
    if wrong:
        stop(f"these tables have other numbers of rows than the backup: {'; '.join(wrong)}")


def known_kind(entry: dict[str, Any], *kinds: str) -> str:
    kind = str(entry["kind"])
    return kind if kind in kinds else stop(f"this script does not know entries of the kind {kind} here")


def restore_database(backup: Backup, wanted: argparse.Namespace, work: pathlib.Path, journal: Journal | None) -> None:
    """Restore into a database that is made, or is empty."""
    content = backup.manifest["content"]
    database = Database(wanted.database, content["encoding"])
    if journal is not None:
        journal.require_fit(work)
    archives = {}
    for entry in backup.entries():
        if known_kind(entry, "table", "schema", "roles", "large_objects") != "table":
            archives[entry["kind"]] = work / entry["kind"]
            with (work / entry["kind"]).open("wb") as file:
                file.writelines(backup.chunks(entry))
    if "schema" not in archives:
        stop("this backup holds rows alone: make its tables first, and load the entries as docs/format/v1.md says")
    make_database(database, content, wanted.database)
    if not wanted.no_owners:
        roles = archives["roles"].read_bytes() if "roles" in archives else None
        make_roles(database, backup, roles, make=wanted.make_roles)

    with incomplete(f"The database {wanted.database}"):
        refused = fill_database(backup, database, archives, wanted, journal)
    if refused:
        pathlib.Path("not-made.sql").write_bytes(b"\n".join(refused))
        say(f"not-made.sql has what was refused: remove the cause, and run it with psql in {wanted.database}.")
        sys.exit(
            f"NOT COMPLETE: the server refused {len(refused)} definitions or views: see above. All else is restored"
        )
    if journal is not None and journal.at is not None and journal.left:
        sys.exit(f"NOT COMPLETE: the moment is not reached, only {journal.until}: see above. All else is restored")


def fill_database(
    backup: Backup,
    database: Database,
    archives: dict[str, pathlib.Path],
    wanted: argparse.Namespace,
    journal: Journal | None,
) -> list[bytes]:
    """Restore definitions, rows, then indexes and constraints; return the statements of those that are refused."""
    content, options = backup.manifest["content"], ("--no-owner", "--no-privileges") if wanted.no_owners else ()
    schema = Archive(archives["schema"], database, content, options)
    kept = [line for line in schema.listed() if not (wanted.leave_out and re.search(wanted.leave_out, shown(line)))]
    first = [line for line in kept if not EVENT_TRIGGER.match(line)]  # they are not to see the restore
    last = [line for line in kept if EVENT_TRIGGER.match(line)]
    schema.restore("pre-data", first)
    load_tables(database, backup)
    if "large_objects" in archives:
        Archive(archives["large_objects"], database, content, options).restore("data")
    set_sequences(database, content.get("sequences", []))
    check_rows(database, content["tables"])  # now, before row level security can hide some
    schema.complete(first)
    if journal is not None:
        apply_journal(database, journal, archives["schema"].parent)
    schema.fill(content.get("materialized_views", []))
    schema.complete(last)
    say(f"Restored {backup.manifest['rows']} rows into the database {wanted.database}.")
    for exception in backup.manifest["exceptions"]:
        say(f"Not as in the source: {exception}")
    return schema.refused


# --- Journals: what changed after a backup ---

NAME = r'(?:[a-z_][a-z0-9_]*|"[^"]*(?:""[^"]*)*")'
CHANGED = re.compile(rf"table ({NAME})\.({NAME}): (INSERT|UPDATE|DELETE):")
EMPTIED = re.compile(rf"table ({NAME}\.{NAME}(?:, {NAME}\.{NAME})*): TRUNCATE:")
TABLE = re.compile(rf"({NAME})\.({NAME})")
COLUMN = re.compile(
    rf' ({NAME})\[(?:[^"\[\]]|"[^"]*(?:""[^"]*)*"|\[\])*\]:(\'[^\']*(?:\'\'[^\']*)*\'|B\'[01]*\'|[^ \']+)'
)
UNCHANGED = "unchanged-toast-datum"
EQUAL = "OPERATOR(pg_catalog.=)"
# Of each table the columns that find a row, with the operator of their index, those that cannot be written, or only by
# an INSERT, and all others; of these, whether they are booleans.
TABLES = """SELECT json_agg(json_build_array(n.nspname, c.relname, c.relkind,
    (SELECT json_agg(json_build_array(a.attname, format('OPERATOR(%s.%s)', o.oprnamespace::regnamespace, o.oprname)))
     FROM pg_index i, unnest(i.indkey::int2[], i.indclass::oid[]) k (attnum, class) JOIN pg_opclass s ON s.oid = k.class
     JOIN pg_amop m ON (m.amopfamily, m.amoplefttype, m.amoprighttype, m.amopstrategy)
       = (s.opcfamily, s.opcintype, s.opcintype, 3)
     JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_attribute a ON a.attnum = k.attnum
     WHERE i.indrelid = c.oid AND a.attrelid = c.oid
       AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END),
    (SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attgenerated <> ''),
    (SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attidentity = 'a'),
    (SELECT json_agg(json_build_array(a.attname, a.atttypid = 16)) FROM pg_attribute a
     WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm');"""
FIRING = """SELECT tgrelid::regclass FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('A', 'R') UNION
SELECT ev_class::regclass FROM pg_rewrite WHERE ev_enabled IN ('A', 'R');"""
REPLAY = b"SET session_replication_role = replica; SET enable_seqscan = off; SET CONSTRAINTS ALL DEFERRED;\n"
# Of each sequence whether it counts up (1) or down (-1), its limits, whether it begins again behind them and is
# unlogged, and the column that owns it: whether no two rows have the same value of that.
SEQUENCES = """SELECT json_agg(json_build_array(sn.nspname, own.relname,
    CASE WHEN s.seqincrement > 0 THEN 1 ELSE -1 END, s.seqmin, s.seqmax, s.seqcycle, own.relpersistence = 'u',
    n.nspname, c.relname, a.attname,
    EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indnkeyatts = 1
            AND i.indkey[0] = a.attnum AND i.indpred IS NULL)))
FROM pg_sequence s JOIN pg_class own ON own.oid = s.seqrelid JOIN pg_namespace sn ON sn.oid = own.relnamespace
LEFT JOIN (
    pg_depend d JOIN pg_class c ON c.oid = d.refobjid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
        AND a.atttypid = ANY('{int2,int4,int8}'::regtype[])
) ON d.classid = 'pg_class'::regclass AND d.refclassid = d.classid AND d.objid = s.seqrelid
    AND d.deptype IN ('a', 'i');"""
SET_BACK = "Sequences that were set back around the moment, and are restored to the furthest value known"
UNREAD = "Sequences that were not read after the moment, and are restored to the furthest value known"
PASSED = (
    "Rows have values beyond that of their sequence, so it was set back around the moment, or they did not take them"
    " from it: it comes to values that are taken"
)
MISSING = "Sequences that do not exist here, and whose values are left out"
MOST_NAMED = 5
# Changes that are sent together, and undone together if one of them is refused.
MOST_CHANGES, MOST_CHARACTERS = 1_000, 1 << 20


def time_of(text: str) -> datetime.datetime:
    """Return a time, which is UTC unless it says."""
    whole, dot, rest = text.strip().replace("Z", "+00:00").partition(".")
    digits = re.match(r"\d*", rest)
    part = digits[0] if digits else ""
    zone = re.sub(r"([+-]\d\d)$", r"\1:00", rest[len(part) :])
    if not dot:
        whole = re.sub(r"(:\d\d[+-]\d\d)$", r"\1:00", whole)
    found = datetime.datetime.fromisoformat(f"{whole}{dot}{part:0<6}{zone}" if dot else whole)
    return found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)  # noqa: UP017 (not in 3.9)


UNREAD_END: dict[str, Any] = {"stored_lsn": 1 << 64}


# What each record of a journal has to have, and what it can have.
INTERVAL: dict[str, type] = {"format": int, "fingerprint": str, "database": str, "from_lsn": int}
INTERVAL_END: dict[str, type] = {"stored_lsn": int}
SEGMENT: dict[str, type] = {
    "number": int,
    "previous": str,
    "from_lsn": int,
    "to_lsn": int,
    "seen_at": str,
    "is_complete": bool,
    "frames": list,
}
OPTIONAL: dict[str, type] = {
    "number": int,
    "seen_at": str,
    "last_commit": str,
    "text": str,
    "left_out": list,
    "definitions": list,
    "sequences": list,
    "tail": dict,
    "touched": list,
}
FRAME: dict[str, type] = {"pack": str, "offset": int, "length": int, "size": int, "sha256": str}
SEQUENCE: dict[str, type] = {"schema_name": str, "sequence_name": str, "last_value": int, "is_called": bool}
LISTS = {"frames": FRAME, "definitions": FRAME, "sequences": SEQUENCE}


def has_form(found: Any, form: dict[str, type]) -> bool:
    return isinstance(found, dict) and all(type(found.get(key)) is kind for key, kind in form.items())


def is_record(found: Any, form: dict[str, type]) -> bool:
    """Return whether what was read is a record of a form. One whose times are none is a ValueError."""
    if not has_form(found, form):
        return False
    given = {key: kind for key, kind in OPTIONAL.items() if found.get(key) is not None}
    return (
        has_form(found, given)
        and all(map(time_of, (found[key] for key in ("seen_at", "last_commit") if key in given)))
        and all(has_form(one, kind) for key, kind in LISTS.items() for one in found.get(key) or ())
        and ("tail" not in given or is_record(found["tail"], SEGMENT))
    )


def parsed(path: pathlib.Path, form: dict[str, type]) -> dict[str, Any]:
    """Return a record of a journal; an empty one if it is damaged."""
    try:
        found: Any = json.loads(path.read_bytes())
        return dict(found) if is_record(found, form) else {}
    except (ValueError, RecursionError):
        return {}


def interval_of(backup: Backup) -> tuple[pathlib.Path, dict[str, Any], dict[str, Any]] | None:
    """Return the newest interval of the target's journal that continues a backup, with its end; None: none does."""
    content = backup.manifest["content"]
    base = content["journal"]
    found = (backup.vault / "v1/journal" / str(backup.manifest["target"])).glob("*/interval.json")
    for path in sorted(found, reverse=True):
        interval, end = parsed(path, INTERVAL), dict[str, Any]()
        if (path.parent / "end.json").exists():
            end = parsed(path.parent / "end.json", INTERVAL_END) or UNREAD_END
        last = end.get("tail") or {"to_lsn": end.get("stored_lsn")}
        if interval and (
            interval["format"] == FORMAT
            and (interval["fingerprint"], interval["database"]) == (base["fingerprint"], content["database"])
            and base["before_lsn"] >= interval["from_lsn"]
            and (not end or base["lsn"] <= last["to_lsn"])
        ):
            return path, interval, end
    return None


def known_until(segment: dict[str, Any]) -> list[datetime.datetime]:
    """Return times up to which every commit is in a segment or in an earlier one."""
    times = [time_of(segment["seen_at"])] if segment["is_complete"] else []
    return times + ([before(time_of(segment["last_commit"]))] if segment.get("last_commit") else [])


def before(time: datetime.datetime) -> datetime.datetime:
    return time - datetime.timedelta(microseconds=1)


class Transaction(NamedTuple):
    """A transaction of a segment: its number, the end and the time of its commit, and where its lines are."""

    xid: int
    lsn: int
    time: datetime.datetime
    path: pathlib.Path
    first: int
    last: int

    def lines(self) -> Iterator[str]:
        """Yield its changes."""
        with self.path.open("rb") as file:
            file.seek(self.first)
            while file.tell() < self.last:
                data = json.loads(file.readline())[2]
                if data.startswith("table "):
                    yield data


def transactions_in(path: pathlib.Path) -> Iterator[Transaction]:
    """Yield the transactions of a segment's file."""
    with path.open("rb") as file:
        start = at = 0
        for line in file:
            lsn, xid, data = json.loads(line)
            if data.startswith("BEGIN"):
                start = at
            elif data.startswith("COMMIT "):
                yield Transaction(xid, lsn, time_of(data.partition(" (at ")[2].rstrip(")")), path, start, at)
            at += len(line)


class Journal:
    """The interval of a target's journal that continues a backup, and its segments, each checked by the one before.

    What was committed between its last segment and changed definitions is its **tail**: one of the transactions has
    changed them, and nothing says which. Those that do not fit the definitions of before are not applied.
    """

    def __init__(self, backup: Backup, at: datetime.datetime | None) -> None:
        self.backup, self.at = backup, at
        self.base = backup.manifest["content"].get("journal") or stop("no journal continues this backup")
        path, self.interval, self.end = interval_of(backup) or stop("no interval of the journal continues this backup")
        self.left_out = self.interval.get("left_out") or []
        self.segments: list[dict[str, Any]] = []
        self.lost = ""
        self.until = time_of(self.base["at"])
        self.applied = 0
        # Of the tail: from where on it is not applied, and why; and its transactions that changed no row.
        self.misfit, self.left, self.without_rows = 0, "", list[Transaction]()
        self._read(path)
        if at is not None and at < time_of(self.base["at"]):
            stop(f"{at} is before the backup, which is of {self.base['at']}: choose an earlier one")
        if at is None and self.lost:
            stop(f"{self.lost}: give --at, {self.until} at the latest")
        tail = None if self.lost else self.end.get("tail")
        if tail and (at is None or at > self.until or self.base["lsn"] > self.end["stored_lsn"]):
            self.segments.append(tail)
            self.until = max([self.until, *known_until(tail)])
        if at is not None and at > self.until:
            why = f"{self.lost}." if self.lost else self.end.get("text", "")
            stop(f"the journal of this backup is stored up to {self.until}, not up to {at}. {why}".rstrip())
        for number, one in enumerate(self.segments, 1):
            if at is not None and one.get("last_commit") and time_of(one["last_commit"]) > at:
                del self.segments[number:]
                break
        self.tail = tail if tail in self.segments[-1:] else None

    def _read(self, interval: pathlib.Path) -> None:
        paths = sorted(interval.parent.glob("[0-9]*.json"))
        number: int | None = None
        previous, cut = sha256(interval.read_bytes()), ""
        before_lsn = self.base["before_lsn"]
        for path in paths:
            segment, why = self._record(path, None if path == paths[0] else number, previous)
            if why and segment.get("number") == 1:
                stop(why)
            if why and "follow" in why:  # it cannot be known which of the two was changed
                del self.segments[-1:]
            if why and self.segments and self.segments[-1]["to_lsn"] > before_lsn:
                self.lost = why
                break
            if why:  # what comes after it may do
                self.segments, cut = [], why
            if not segment:
                number = -1
                continue
            number, previous = segment["number"], sha256(path.read_bytes())
            if self.end and segment["from_lsn"] >= self.end["stored_lsn"]:
                continue  # of a drain that did not know of the end: it may not fit the definitions
            if segment["to_lsn"] <= before_lsn:
                self.segments.clear()  # the last of these stays: what is in it may have been visible only later
            self.segments.append(segment)
        if cut and (not self.segments or self.segments[0]["to_lsn"] > before_lsn):
            stop(f"{cut}: choose a later backup")
        if self.segments and self.segments[0]["from_lsn"] > before_lsn:
            stop("the segments after this backup have been deleted: choose a later backup")
        if self.end is UNREAD_END:  # a drain that did not know of it can have stored the last one
            self.lost = self.lost or "the record of the end of the journal is damaged"
            del self.segments[-1:]
        self.until = max([self.until, *itertools.chain(*map(known_until, self.segments))])
        if not self.lost and (number or 0) < (self.end.get("number") or 0):
            self.lost = "the last segments of the journal are missing"
        if not self.lost and self.end.get("seen_at"):
            self.until = max(self.until, time_of(self.end["seen_at"]))

    def _record(self, path: pathlib.Path, number: int | None, previous: str) -> tuple[dict[str, Any], str]:
        """Return the record of a segment, and what is wrong before it; an empty one if it cannot be read."""
        segment = parsed(path, SEGMENT)
        if not segment:
            return {}, f"a segment of the journal is damaged: {path.name}"
        is_first = segment["number"] == 1 or (number is not None and number >= 0)
        if number is not None and number >= 0 and segment["number"] != number + 1:
            return segment, f"a segment of the journal is missing before {path.name}"
        if is_first and segment["previous"] != previous:
            return segment, f"a segment of the journal does not follow the one before it: {path.name}"
        return segment, ""

    def has(self, one: Transaction) -> bool:
        """Return whether the backup has the rows of a transaction."""
        xmin, xmax, running = self.base["snapshot"].split(":")
        distance = (one.xid - int(xmax)) % (1 << 32)
        full = int(xmax) + (distance if distance < 1 << 31 else distance - (1 << 32))
        is_seen = full < int(xmin) or (full < int(xmax) and str(full) not in running.split(","))
        return one.lsn <= self.base["lsn"] and is_seen

    def _transactions(self, segment: dict[str, Any], work: pathlib.Path) -> Iterator[Transaction]:
        path = work / "segment"
        with path.open("wb") as file:
            file.writelines(self.backup.decoded(frame) for frame in segment["frames"])
        return transactions_in(path)

    def require_fit(self, work: pathlib.Path) -> None:
        """Find the first transaction of the tail that does not fit, and stop if it belongs to the moment."""
        if self.tail is None:
            return
        found = json.loads(b"".join(map(self.backup.decoded, self.interval["definitions"])))
        if found["format"] != FORMAT:
            stop(f"this script reads definitions of a journal in format {FORMAT}, not {found['format']}")
        tables = {tuple(one["name"]): one for one in found["tables"]}
        views = {tuple(one) for one in found["views"]}
        for one in self._transactions(self.tail, work):
            if self.at is not None and one.time > self.at:
                return
            if one.lsn <= self.end["stored_lsn"] or self.has(one):
                continue
            why = None
            for line in one.lines():
                why = misfit(change_of(line), tables, views)
                if why:
                    break
            if why is None:
                self.without_rows.append(one)
            elif why:
                self.end_before(one, f"its changes do not fit the definitions of before: {why}")
                self.misfit = one.lsn
                break
        if self.misfit and self.at is not None:
            stop(
                f"{self.at} cannot be restored. {self.end.get('text', '')} {self.left}"
                f' The last moment before it: --at "{self.until}"'
            )

    def end_before(self, one: Transaction, why: str) -> None:
        """Note that the tail is not applied from a transaction on."""
        self.until = before(one.time)
        self.left = f"The transaction {one.xid}, committed at {one.time}, is not applied, and none after it: {why}."

    def is_in_tail(self, one: Transaction) -> bool:
        return self.tail is not None and one.lsn > self.end["stored_lsn"]

    def wanted(self, work: pathlib.Path) -> Iterator[Transaction]:
        """Yield the transactions that are to be applied; those of the tail last."""
        done = 0
        for segment in self.segments:
            for one in self._transactions(segment, work):
                if one.lsn <= done:
                    continue
                if (self.at is not None and one.time > self.at) or one.lsn == self.misfit:
                    return
                done = one.lsn
                if not self.has(one):
                    yield one
                    self.applied += 1

    def doubts(self) -> Iterator[str]:
        """Yield what a person has to know of a moment in the tail."""
        if self.tail is None:
            return
        since, touched = self.end.get("seen_at"), self.end.get("touched")
        yield (
            f"WARNING: definitions were changed since {time_of(since) if since else 'the last drain'}, and the journal"
            f" does not know whether before or after this moment. {self.end.get('text', '')} The definitions of before"
            " are restored."
        )
        if touched is None:
            yield "Of which tables the rows are those of the moment is not known."
        elif touched:
            yield (
                f"Rows of {', '.join(touched)} are those of the moment only if the change came later; those of all"
                " other tables are in any case."
            )
        else:
            yield "All rows are those of the moment."
        if self.left:
            yield self.left
        if self.without_rows:
            listed = ", ".join(f"{one.xid} at {one.time}" for one in self.without_rows[-MOST_NAMED:])
            yield f"Transactions without rows, of which one changed the definitions, as a rule: {listed}."
            yield "--at with an earlier time than one of these restores what was before it."

    def readings(self) -> list[list[dict[str, Any]]]:
        """Return the values of sequences that were read around the moment, in order; the last are of after it.

        A drain reads sequences when it has noted its position, and all of its segments have these values. Only where a
        drain is complete, what the one before it has read is surely from before its end.
        """
        own = self.backup.manifest["content"].get("sequences") or []
        if not self.segments or self.segments[-1]["to_lsn"] <= self.base["lsn"]:
            return [own]
        values = list[list[dict[str, Any]]]()
        for segment in self.segments:  # one without values says that none has changed
            values.append(segment.get("sequences") or (values[-1] if values else []))
        if self.tail is not None:  # it has those that exist afterwards
            values[-1] = self.tail.get("sequences") or []
        elif not values[-1]:
            return [own]
        found, is_surely_before, is_behind_base = [values[-1]], False, True
        drain = self.segments[-1]["seen_at"], values[-1]
        for number in reversed(range(len(values) - 1)):
            segment, read = self.segments[number], values[number]
            if is_behind_base and segment["to_lsn"] <= self.base["lsn"]:
                found.append(own)
                is_behind_base = False
            if (segment["seen_at"], read) != drain:
                found.append(read)
                drain = segment["seen_at"], read
                if is_surely_before:
                    break
            is_complete = segment["is_complete"] and (self.at is None or time_of(segment["seen_at"]) <= self.at)
            is_surely_before = is_surely_before or is_complete
        else:
            found += [own] if is_behind_base else []
        known = {place_of(one) for read in found for one in read}
        return [[one for one in own if place_of(one) not in known], *reversed(found)]


class Change(NamedTuple):
    """A line of the journal. Rows are columns with their values as SQL; None: it has none."""

    kind: str
    tables: list[tuple[str, str]]
    old: dict[str, str] | None = None
    new: dict[str, str] | None = None


def change_of(line: str) -> Change:
    found = CHANGED.match(line)
    if found is None:
        found = EMPTIED.match(line) or stop("a line of the journal is of no kind that this script knows")
        return Change("TRUNCATE", [(unquoted(schema), unquoted(table)) for schema, table in TABLE.findall(found[1])])
    table, old, at = (unquoted(found[1]), unquoted(found[2])), None, found.end()
    if line.startswith(" old-key:", at):
        old, at = row_of(line, at + len(" old-key:"))
        at += len(" new-tuple:")
    row: dict[str, str] | None
    row, at = row_of(line, at)
    if line[at:] == " (no-tuple-data)":
        row = None
    elif at != len(line):
        stop(f"the journal cannot be read: a change of {table!r}")
    return Change(found[3], [table], row) if found[3] == "DELETE" else Change(found[3], [table], old, row)


def misfit(change: Change, tables: dict[Any, Any], views: set[Any]) -> str:
    """Say why a change does not fit the definitions of an interval; nothing: it does, as far as names show."""
    for place in change.tables:
        if place not in tables and place not in views:
            return f"the table {name(*place)} did not exist"
    table = tables.get(change.tables[0])
    if change.kind == "TRUNCATE" or table is None:
        return ""
    what, is_full = name(*change.tables[0]), table["replica_identity"] == "f"
    columns = {one["name"]: one["generated"] for one in table["columns"]}
    key, keeps_key = set(columns if is_full else table["key"]), change.kind == "UPDATE" and change.old is None
    if change.kind != "INSERT" and not (is_full or key):
        return f"nothing identified the rows of {what}"
    if change.kind != "DELETE":
        if change.new is None:
            return f"a row of {what} was not logged"
        for column in sorted(set(change.new) - set(columns)):
            return f"{what} had no column {column!r}"
        for column in sorted({one for one, generated in columns.items() if not generated} - set(change.new)):
            return f"{what} had the column {column!r} as well"
    if change.kind == "INSERT" or (keeps_key and table["key"]):
        return ""
    if change.old is None:
        return f"nothing identified a row of {what}"
    for column in sorted(set(change.old) - key):
        return f"{column!r} did not identify the rows of {what}"
    for column in sorted(set() if is_full else key - set(change.old)):  # of a whole row, NULLs are left out
        return f"{column!r} identified the rows of {what} as well"
    return ""


class Replay:
    """Writes changes as statements, each of which fails if it does not change one row.

    All names have their schemas, operators too: a statement says the same under any search_path.
    """

    def __init__(self, database: Database) -> None:
        firing = database.ask(FIRING)
        if firing:
            stop(f"triggers or rules fire always, and would change rows again: {', '.join(firing)}. Disable them first")
        found = database.ask_json(TABLES)
        self.tables = {(one[0], one[1]): (one[2], *[columns or [] for columns in one[3:]]) for one in found}

    def statement(self, line: str) -> tuple[tuple[str, str], str]:
        """Return a table that is changed, and how."""
        change = change_of(line)
        for table in change.tables:
            if table not in self.tables:
                stop(f"the journal has rows of {table!r}, which does not exist here")
        if change.kind == "TRUNCATE":
            ones = [f"ONLY {name(*table)}" for table in change.tables if self.tables[table][0] == "r"]
            # What points at them is empty, or named too.
            return change.tables[0], f"TRUNCATE {', '.join(ones)} CASCADE;\n" if ones else ""
        return change.tables[0], self._changed(change.tables[0], change)

    def _changed(self, table: tuple[str, str], change: Change) -> str:
        kind, key, generated, always, columns = self.tables[table]
        if kind == "m":  # a materialized view is computed again
            return ""
        new, old = change.new, change.old if change.old is not None else change.new
        if old is None or (new is None and change.kind != "DELETE"):
            stop(f"the journal does not say which row of {table!r} was changed")
        written = {column: value for column, value in (new or {}).items() if column not in generated}
        if change.kind == "INSERT":
            return insert(table, written)
        finds = self._finding(table, old, key, columns)
        if change.kind == "DELETE":
            return counted(f"DELETE FROM ONLY {name(*table)} WHERE {finds}")  # noqa: S608 (quoted names)
        return update(table, written, old, always, finds)

    def _finding(self, table: tuple[str, str], row: dict[str, str], key: list[Any], columns: list[Any]) -> str:
        if key and all(column in row for column, _ in key):
            return " AND ".join(f"{name(column)} {equal} {row[column]}" for column, equal in key)
        if key:
            stop(f"the journal does not say which row of {table!r} was changed")
        same = " AND ".join(is_same(column, row.get(column, "NULL"), is_boolean) for column, is_boolean in columns)
        return f"ctid {EQUAL} (SELECT ctid FROM ONLY {name(*table)} WHERE {same or 'true'} LIMIT 1)"  # noqa: S608 (quoted names)


def unquoted(sql: str) -> str:
    return sql[1:-1].replace('""', '"') if sql.startswith('"') else sql


def row_of(line: str, at: int) -> tuple[dict[str, str], int]:
    """Return columns with their values as SQL, and where they end."""
    row = {}
    while (found := COLUMN.match(line, at)) is not None:
        value, at = found[2], found.end()
        if value not in ("null", UNCHANGED):
            value = text(value[2:-1]) if value.startswith("B'") else value if value[0] == "'" else text(value)
        row[unquoted(found[1])] = "NULL" if value == "null" else value
    return row, at


def is_same(column: str, value: str, is_boolean: bool) -> str:
    """Compare by the printed text, as not every type can be compared. A boolean is printed in two ways."""
    nulls = f"pg_catalog.num_nulls({name(column)}) {EQUAL}"
    if value == "NULL":
        return f"{nulls} 1"
    if is_boolean:
        return f"{name(column)} {EQUAL} {value}"
    return f"pg_catalog.format('%s', {name(column)}) {EQUAL} {value} COLLATE pg_catalog.\"C\" AND {nulls} 0"


def insert(table: tuple[str, str], row: dict[str, str]) -> str:
    if not row:
        return f"INSERT INTO {name(*table)} DEFAULT VALUES;\n"
    columns, values = ", ".join(map(name, row)), ", ".join(row.values())
    return f"INSERT INTO {name(*table)} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({values});\n"  # noqa: S608 (quoted names)


def update(table: tuple[str, str], row: dict[str, str], old: dict[str, str], always: list[str], finds: str) -> str:
    if any(column in row and old.get(column) != row[column] for column in always):  # no UPDATE can set these
        gone = ", ".join(f"gone.{name(c)}" if value == UNCHANGED else value for c, value in row.items())
        into = f"INSERT INTO {name(*table)} ({', '.join(map(name, row))}) OVERRIDING SYSTEM VALUE SELECT {gone}"
        gone_rows = f"gone AS (DELETE FROM ONLY {name(*table)} WHERE {finds} RETURNING *), "  # noqa: S608 (quoted)
        return counted(f"{into} FROM gone", gone_rows)
    sets = [f"{name(c)} = {value}" for c, value in row.items() if value != UNCHANGED and c not in always]
    change = f"UPDATE ONLY {name(*table)} SET {', '.join(sets)} WHERE {finds}"  # noqa: S608 (quoted names)
    return counted(change) if sets else ""


def counted(change: str, before: str = "") -> str:
    """Return a statement that fails if it does not change one row."""
    rows = "pg_catalog.count(*)"
    wrong = f"pg_catalog.concat('rows of the journal that are not in the backup: ', {rows})::int"
    found = f"CASE WHEN {rows} {EQUAL} 1 THEN 1 ELSE {wrong} END"
    return f"WITH {before}changed AS ({change} RETURNING 1) SELECT {found} FROM changed;\n"  # noqa: S608 (quoted)


def parts_of(changes: Iterable[tuple[tuple[str, str], str]]) -> Iterator[list[tuple[tuple[str, str], str]]]:
    """Yield tables and how they are changed, as many as are sent together."""
    part, size = list[tuple[tuple[str, str], str]](), 0
    for table, sql in changes:
        if sql:
            part.append((table, sql))
            size += len(sql)
        if len(part) == MOST_CHANGES or size > MOST_CHARACTERS:
            yield part
            part, size = [], 0
    yield part


class Changes:
    """Executes changes of tables in a transaction, each under the search_path that its table's code needs."""

    def __init__(self, database: Database, content: dict[str, Any], refusal: Callable[[Iterable[bytes]], bytes | None]):
        self.database, self.content, self.refusal = database, content, refusal
        self.paths: dict[tuple[str, str], str] = {}
        self.taken: dict[tuple[tuple[str, str], str], None] = {}

    def apply(self, part: list[tuple[tuple[str, str], str]]) -> None:
        """Execute changes; where they are refused, halve them until it is known which table needs another path."""
        if self.refusal(self._lines(part)) is None:
            return
        if len(part) > 1:
            self.apply(part[: len(part) // 2])
            self.apply(part[len(part) // 2 :])
            return
        [(table, _)] = part
        known = paths_of(self.content, lambda: owner_of(self.database, table))
        ones = itertools.chain([self.paths.get(table, OURS)], known)
        path, why = first_path(ones, lambda path: self.refusal(self._lines(part, path)))
        self.paths[table] = path or refuse(why)
        self.taken[table, self.paths[table]] = None

    def _lines(self, part: Iterable[tuple[tuple[str, str], str]], path: str | None = None) -> Iterator[bytes]:
        now = None
        for table, sql in part:
            wanted = path or self.paths.get(table, OURS)
            yield self.database.bytes_of(sql if wanted == now else under(wanted) + sql)
            now = wanted


def apply_transactions(database: Database, journal: Journal, work: pathlib.Path) -> Changes:
    """Apply the journal in one transaction: all of it, or nothing. The tail ends before a transaction that fails."""
    replay = Replay(database)
    with database.transaction() as refusal:
        why = refusal([REPLAY])
        if why is not None:
            refuse(why)
        changes = Changes(database, journal.backup.manifest["content"], refusal)

        def apply(ones: Iterable[Transaction]) -> None:
            for part in parts_of(replay.statement(line) for one in ones for line in one.lines()):
                changes.apply(part)

        for in_tail, ones in itertools.groupby(journal.wanted(work), journal.is_in_tail):
            if not in_tail:
                apply(ones)
                continue
            for one in ones:
                refusal([b"SAVEPOINT alone;\n"], is_part=False)
                try:
                    apply([one])
                except SystemExit as error:  # the server refuses it, or it is of a table that was left out
                    refusal([b"ROLLBACK TO SAVEPOINT alone;\n"], is_part=False)
                    journal.end_before(one, str(error)[len("STOP: ") :])
                    return changes
                refusal([b"RELEASE SAVEPOINT alone;\n"], is_part=False)
    return changes


def apply_journal(database: Database, journal: Journal, work: pathlib.Path) -> None:
    """Apply the journal, set the sequences, and say what is not of the moment."""
    changes = apply_transactions(database, journal, work)
    for table, path in changes.taken:
        say_path(f"Changes of {name(*table)} were applied", path)
    set_sequences(database, sequences_at(database, journal.readings()))
    upto = journal.until if journal.left else journal.at or journal.until
    say(f"Applied {journal.applied} transactions of the journal to the backup, up to {upto}.")
    say("Rows of unlogged tables and large objects are as the backup has them: no journal has those.")
    if journal.left_out:
        say(f"So are those of {', '.join(journal.left_out)}: the publication of the source did not have them.")
    for doubt in journal.doubts():
        say(doubt)


class Sequence(NamedTuple):
    """What a sequence is, and which column owns it, as SEQUENCES says."""

    sign: int
    least: int
    most: int
    cycles: bool
    is_unlogged: bool
    schema: str
    table: str
    column: str | None
    is_unique: bool

    def place(self, value: dict[str, Any]) -> tuple[int, bool]:
        """Return how far it is with a value."""
        return value["last_value"] * self.sign, value["is_called"]

    def went_back(self, values: list[dict[str, Any]]) -> bool:
        places = list(map(self.place, values))
        return places != sorted(places) and not self.cycles

    def used(self) -> str:
        """Return a query for the furthest value in the column that owns it."""
        furthest = f"pg_catalog.{'max' if self.sign > 0 else 'min'}({name(self.column or '')})"
        return f"SELECT {furthest} FROM {name(self.schema, self.table)};\n"  # noqa: S608 (quoted names)


def place_of(value: dict[str, Any]) -> tuple[str, str]:
    return value["schema_name"], value["sequence_name"]


def sequences_at(database: Database, readings: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the values that sequences continue from, of what was read before a moment, and last, after it.

    As a rule it is the last. Where a sequence was set back in between, nothing says whether that was before the moment:
    then the furthest value counts, or that of the rows, if the column that owns the sequence has gone further. So it
    is where the last reading does not have it.
    """
    if len(readings) == 1:
        return readings[0]
    values = collections.defaultdict(list)
    for value in itertools.chain(*readings):
        values[place_of(value)].append(value)
    found = {(schema, sequence): Sequence(*facts) for schema, sequence, *facts in database.ask_json(SEQUENCES)}
    here = {place: found[place] for place in values if place in found}
    read = set(map(place_of, readings[-1]))
    known = {place for place, one in here.items() if one.cycles or (place in read and not one.went_back(values[place]))}
    asked = [place for place, one in here.items() if one.column and (one.is_unique or place not in known)]
    used = dict(zip(asked, database.ask("".join(here[place].used() for place in asked))))  # noqa: B905 (not in 3.9)
    chosen, said = list[dict[str, Any]](), collections.defaultdict(set)
    said[MISSING] = values.keys() - here.keys()
    for place, one in here.items():
        went_back = one.went_back(values[place])
        value = max(values[place], key=one.place) if went_back else values[place][-1]
        rows = {**value, "last_value": int(used.get(place) or value["last_value"]), "is_called": True}
        is_passed = bool(used.get(place)) and one.least <= rows["last_value"] <= one.most
        is_passed = is_passed and one.place(rows) > one.place(value) and not one.cycles
        chosen.append(rows if is_passed and place not in known else value)
        if place in known:
            said[PASSED] |= {place} if is_passed else set()
        elif went_back:
            said[SET_BACK].add(place)
        elif is_passed or not one.is_unlogged or one.column is None:  # unlogged rows are those of the backup too
            said[UNREAD].add(place)
    for what, places in said.items():
        if places:
            say(f"{what}: {', '.join(name(*place) for place in sorted(places))}.")
    return chosen


def moment_of(at: str | None) -> datetime.datetime | None:
    """Return the time that was asked for; None: the end, or none was."""
    try:
        return time_of(at) if at and at != "end" else None
    except ValueError:
        stop(f"--at {at} is no time: write 2026-11-27T14:29:30+01:00, or end")


def base_for(vault: pathlib.Path, target: str, at: datetime.datetime | None) -> str:
    """Return the last backup that a journal continues, at or before a time."""
    for _, backup_id in reversed(backups(vault, target)):
        try:
            backup = Backup(vault, target, backup_id)
            base = backup.manifest["content"].get("journal")
            if base and (at is None or time_of(base["at"]) <= at) and interval_of(backup):
                return backup_id
        except (*FORGED, SystemExit) as error:  # it may be another that is wanted
            warn(f"passed over: {backup_id}: {error}")
    return stop(f"no backup of {target} before this moment is continued by a journal")


# --- The command ---


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Restore Coffre's backups without Coffre. With VAULT alone: list them."
    )
    parser.add_argument("vault", type=pathlib.Path, metavar="VAULT", help="a copy of the vault: it contains v1/")
    parser.add_argument("target", nargs="?", metavar="TARGET", help="what was backed up, as the list names it")
    parser.add_argument("backup", nargs="?", metavar="ID", default="latest", help="a backup's id; default: the latest")
    parser.add_argument(
        "--identity", type=pathlib.Path, metavar="FILE", help="the private key, with or without passphrase"
    )
    parser.add_argument(
        "--database", metavar="NAME", help="restore into this new (or empty) database; PGHOST, PGUSER..."
    )
    parser.add_argument(
        "--at",
        metavar="TIME|end",
        help="apply the journal, up to this time (2026-11-27T14:29:30+01:00; without a zone UTC), or to its end",
    )
    parser.add_argument("--directory", type=pathlib.Path, metavar="DIR", help="restore objects into this new directory")
    parser.add_argument(
        "--make-roles", action="store_true", help="make the roles that the server lacks, without a login"
    )
    parser.add_argument("--no-owners", action="store_true", help="restore without owners and privileges")
    parser.add_argument("--leave-out", metavar="REGEX", help="leave out lines of `pg_restore --list` that match")
    parser.add_argument(
        "--manifest-sha256", metavar="HEX", help="as the catalog has it: proves that the backup is genuine"
    )
    return parser.parse_args()


def main() -> None:
    wanted = arguments()
    os.umask(0o077)
    if wanted.target is None:
        return show(wanted.vault)
    at = moment_of(wanted.at)
    if wanted.backup == "latest" and wanted.at:
        wanted.backup = base_for(wanted.vault, wanted.target, at)
    if wanted.backup == "latest":
        found = backups(wanted.vault, wanted.target)
        wanted.backup = (
            found[-1][1] if found else stop(f"no backup of {wanted.target} was found: list them with VAULT alone")
        )
    backup = Backup(wanted.vault, wanted.target, wanted.backup, wanted.manifest_sha256)
    is_database = backup.manifest["kind"] == "database"
    if not (wanted.database if is_database else wanted.directory) or (wanted.database and wanted.directory):
        way = "--database NAME" if is_database else "--directory DIR"
        stop(f"{wanted.target} is a backup of a {backup.manifest['kind']}: say where it goes, {way}")
    if wanted.at and not is_database:
        stop("--at goes with a database: nothing else has a journal")
    journal = Journal(backup, at) if wanted.at else None
    with tempfile.TemporaryDirectory(prefix="restore-") as directory:
        work = pathlib.Path(directory)
        backup.open_with(wanted.identity, work)
        try:
            if is_database:
                restore_database(backup, wanted, work, journal)
            else:
                restore_buckets(backup, wanted.directory)
        except FORGED as error:
            damaged(f"backup {backup.id}", f"it is not what format {FORMAT} says ({type(error).__name__}: {error})")


if __name__ == "__main__":
    try:
        main()
    except (*FORGED, OSError) as error:
        stop(
            f"something cannot be read or written, or is not what format {FORMAT} says: {type(error).__name__}: {error}"
        )
    except KeyboardInterrupt:
        stop("interrupted")
