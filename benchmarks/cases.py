"""Databases that `pg_dump | pg_restore` does not bring back whole: what it brings back, and what Coffre does.

Each case is restored into a new database of the same server by both. Objects are the lines of `pg_restore --list`.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg2
from psycopg2 import sql

from benchmarks.backup_job import run_backup
from benchmarks.harness import progress
from benchmarks.workbench import environment, job
from coffre.vault.codec import new_identity, public_key
from coffre_local.postgres_server import PostgresServer
from coffre_local.toolchain import Toolchain

_IDENTIFIERS: Final = re.compile(r"^\d+; \d+ \d+ ")


@dataclass(frozen=True)
class Case:
    """A database, and the role that restores it. `afterwards` is executed between dump and restore."""

    name: str
    fill: Sequence[str]
    user: str = "postgres"
    afterwards: Sequence[str] = ()


CASES: Final = (
    Case(
        "foreign key with orphans",
        (
            "CREATE TABLE kinds (id int PRIMARY KEY, n text)",
            "CREATE TABLE points (id int PRIMARY KEY, kind int REFERENCES kinds ON DELETE CASCADE, v text)",
            "INSERT INTO kinds SELECT g, 'k' || g FROM generate_series(1, 10) g",
            "INSERT INTO points SELECT g, 1 + g % 10, 'x' FROM generate_series(1, 2000) g",
            "SET session_replication_role = replica; DELETE FROM kinds WHERE id = 4",
        ),
    ),
    Case(
        "generated column over a function that names another without its schema",
        (
            "CREATE EXTENSION unaccent",
            (
                "CREATE FUNCTION public.slugify(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE STRICT AS $$ BEGIN"
                " RETURN trim(both '-' from regexp_replace(lower(unaccent(value)), '[^a-z0-9]+', '-', 'g')); END $$"
            ),
            "CREATE TABLE page (id int PRIMARY KEY, title text, slug text GENERATED ALWAYS AS (slugify(title)) STORED)",
            "INSERT INTO page (id, title) SELECT g, 'Ete no ' || g FROM generate_series(1, 300) g",
        ),
    ),
    Case(
        "check that reads another table, which is loaded later",
        (
            "CREATE TABLE public.zz_members (grp int, usr int, PRIMARY KEY (grp, usr))",
            (
                "CREATE FUNCTION public.is_member(g int, u int) RETURNS boolean LANGUAGE sql STABLE AS"
                " $$ SELECT EXISTS (SELECT 1 FROM public.zz_members m WHERE m.grp = g AND m.usr = u) $$"
            ),
            (
                "CREATE TABLE public.aa_budget (id int PRIMARY KEY, grp int, usr int,"
                " CONSTRAINT must_be_member CHECK (public.is_member(grp, usr)))"
            ),
            "INSERT INTO zz_members SELECT g, g + 1 FROM generate_series(1, 300) g",
            "INSERT INTO aa_budget SELECT g, g, g + 1 FROM generate_series(1, 300) g",
        ),
    ),
    Case(
        "check of rows that time has overtaken",
        (
            "CREATE TABLE tokens (id int PRIMARY KEY, expires timestamptz)",
            "INSERT INTO tokens SELECT g, now() - interval '1 day' FROM generate_series(1, 100) g",
            "ALTER TABLE tokens ADD CONSTRAINT fresh CHECK (expires > now()) NOT VALID",
            "SET allow_system_table_mods = on; UPDATE pg_constraint SET convalidated = true WHERE conname = 'fresh'",
        ),
    ),
    Case(
        "hash partitions over an enum",
        (
            "CREATE TYPE pad AS ENUM ('x1', 'x2', 'x3')",
            "CREATE TYPE state AS ENUM ('new', 'paid', 'sent', 'lost', 'back', 'void')",
            "CREATE TABLE orders (id int, st state, v text, PRIMARY KEY (id, st)) PARTITION BY HASH (st)",
            *(
                f"CREATE TABLE orders_{n} PARTITION OF orders FOR VALUES WITH (MODULUS 3, REMAINDER {n})"
                for n in range(3)
            ),
            (
                "INSERT INTO orders SELECT g, (enum_range(NULL::state))[1 + g % 6], 'v' || g"
                " FROM generate_series(1, 1200) g"
            ),
        ),
    ),
    Case(
        "comment on a policy whose role the destination lacks",
        (
            "CREATE ROLE case_role",
            "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1)",
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
            "CREATE POLICY p ON t TO case_role USING (true)",
            "COMMENT ON POLICY p ON t IS 'x'",
        ),
        afterwards=("DROP POLICY p ON t", "DROP ROLE case_role"),
    ),
    Case(
        "options of a server's newer minor (pg_attver)",
        (
            "CREATE TABLE t (a int PRIMARY KEY, b text); INSERT INTO t SELECT g, 'x' FROM generate_series(1, 100) g",
            (
                "SET allow_system_table_mods = on;"
                " UPDATE pg_attribute SET attoptions = '{pg_attver=2}' WHERE attrelid = 't'::regclass AND attname = 'b'"
            ),
        ),
    ),
    Case(
        "restored by a plain owner: grants, publication of all tables, event trigger",
        (
            "CREATE ROLE case_owner LOGIN CREATEDB",
            "CREATE ROLE case_web",
            "CREATE TABLE customers AS SELECT g AS id FROM generate_series(1, 100) g",
            "ALTER TABLE customers OWNER TO case_owner",
            "GRANT SELECT ON customers TO case_web",
            "CREATE PUBLICATION everything FOR ALL TABLES",
            "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
            "CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION f()",
        ),
        user="case_owner",
    ),
    Case(
        "index over rows that are not unique",
        (
            "CREATE TABLE people (id int, n text); INSERT INTO people SELECT g, 'a' FROM generate_series(1, 100) g",
            "ALTER TABLE people ADD CONSTRAINT people_key PRIMARY KEY (id)",
            (
                "SET allow_system_table_mods = on;"
                " UPDATE pg_index SET indisready = false WHERE indexrelid = 'people_key'::regclass"
            ),
            "INSERT INTO people VALUES (2, 'twice')",
            "UPDATE pg_index SET indisready = true WHERE indexrelid = 'people_key'::regclass",
        ),
    ),
)


def run(url: str, statements: Sequence[str]) -> None:
    """Execute statements, each on its own."""
    with closing(psycopg2.connect(url)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def rows_of(url: str) -> int:
    """Return the number of rows of all tables."""
    with closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
        cursor.execute("SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE c.relkind = 'r' AND n.nspname = 'public'")  # fmt: skip
        total = 0
        for schema, name in cursor.fetchall():
            cursor.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(schema, name)))
            total += cursor.fetchall()[0][0]
        return total


class Bench:
    """A server, and PostgreSQL's programs."""

    def __init__(self, server: PostgresServer, home: Path, directory: Path) -> None:
        self.server = server
        self.home = home
        self.directory = directory
        self._variables = {**environment(), "LD_LIBRARY_PATH": str(home / "lib")}

    def program(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs."""
        argv = [str(self.home / "bin" / name), *map(str, arguments)]
        return subprocess.run(argv, env=self._variables, capture_output=True, text=True, check=False)

    def objects(self, url: str) -> set[str]:
        """Return the objects of a database, as `pg_restore --list` names them, without ids."""
        file = self.directory / "list.dump"
        self.program("pg_dump", "-Fc", "-f", file, url).check_returncode()
        listed = self.program("pg_restore", "--list", file).stdout.splitlines()
        return {_IDENTIFIERS.sub("", line) for line in listed if not line.startswith(";")}

    def run(self, case: Case) -> str:
        """Back up and restore a case both ways, and return its line of the table."""
        source = self.server.create_database("source")
        run(source, case.fill)
        rows, objects = rows_of(source), self.objects(source)
        dump = self.directory / "source.dump"
        self.program("pg_dump", "-Fc", "-f", dump, source).check_returncode()
        identity = new_identity()
        with tempfile.TemporaryDirectory(dir=self.directory) as vault:
            run_backup(source, self.home, Path(vault), recipient=public_key(identity), streams=2, previous=None)
            run(source, case.afterwards)
            self.server.create_database("theirs")
            run(self.server.dsn(), [f'ALTER DATABASE theirs OWNER TO "{case.user}"'])
            done = self.program("pg_restore", "-d", self.server.dsn("theirs", user=case.user), dump)
            argv = job("restore_job", self.server.dsn("ours", user=case.user), vault, identity, 2)
            ours = subprocess.run(argv, env=environment(), capture_output=True, text=True, check=False)
        said = json.loads(ours.stdout) if ours.returncode == 0 else {"left_out": [ours.stderr.splitlines()[-1]]}
        cells = [
            case.name,
            self._result(
                "theirs", rows, objects, f"exit {done.returncode}, {done.stderr.count('error: could not')} errors"
            ),
            self._result(
                "ours", rows, objects, f"{len(said['left_out'])} left out, named" if said["left_out"] else "exit 0"
            ),
            "; ".join(said["left_out"]) or "nothing",
        ]
        for name in ("source", "theirs", "ours"):
            self.server.drop_database(name)
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    def _result(self, database: str, rows: int, objects: set[str], how: str) -> str:
        url = self.server.dsn(database)
        missing = len(objects - self.objects(url))
        return f"{rows_of(url):,} of {rows:,} rows, {len(objects) - missing} of {len(objects)} objects ({how})"


def main() -> None:
    """Print a table of all cases."""
    toolchain = Toolchain(on_step=progress)
    toolchain.copydata()
    home = toolchain.postgresql(18)
    with PostgresServer(home) as server, tempfile.TemporaryDirectory(prefix="coffre-bench-") as directory:
        print("| case | pg_dump, pg_restore | Coffre | what Coffre leaves out, with its SQL |\n|---|---|---|---|")
        for case in CASES:
            progress(case.name)
            print(Bench(server, home, Path(directory)).run(case), flush=True)


if __name__ == "__main__":
    main()
