"""The installed command: from its wheel, in an environment of its own, to a protected database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
import yaml
from tests.installed import Machine, operators_machine

from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.sample import load
from coffre_local.sample.files import load_files, make_bucket
from coffre_local.stack import SAMPLE, SAMPLE_FILES
from coffre_local.toolchain import CHECKOUT, Toolchain

pytestmark = pytest.mark.e2e

PASSWORD = "correct-horse-battery"
MAIL = "ops@example.com"
# What the answers make of the template's conditions, which the local AWS cannot decide.
PARAMETERS = {"ConfigurationDocument": "{}", "SourceBuckets": SAMPLE_FILES, "AlertEmail": MAIL}


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    server = PostgresServer(Toolchain().embedded_postgresql(), ServerOptions(password=PASSWORD))
    with operators_machine(PARAMETERS) as made, server:
        url = server.create_database(SAMPLE)
        load(url, scale=0.02)
        make_bucket(made.client("s3"), SAMPLE_FILES, made.environment["AWS_REGION"])
        load_files(made.client("s3"), SAMPLE_FILES, scale=0.02)
        yield replace(made, environment={**made.environment, "DATABASE_URL": url})


def test_from_the_wheel_to_a_protected_database(machine: Machine) -> None:
    before = machine.everything()
    answers = ["--built", machine.built, "--address", "env:DATABASE_URL", "--bucket", SAMPLE_FILES, "--mail", MAIL]

    # A dry run shows what would be done, and does nothing of it.
    dry = machine.coffre("init", *answers, "--dry-run")

    assert dry.status == 0, dry.err
    assert f'Protect the database "{SAMPLE}" as the target {SAMPLE}.' in dry.err
    assert "Nothing was written." in dry.err
    assert machine.everything() == before

    # An attempt that ended before the deployment is continued: its keys are used.
    printed = machine.coffre("init", *answers, "--print")

    assert printed.status == 0, printed.err
    assert "coffre deploy --stack coffre --parameters coffre/parameters.yaml" in printed.out
    started = machine.everything()
    assert sorted(started["secrets"]) == [f"coffre/database/{SAMPLE}", "coffre/identity/main"]
    assert started["files"] == ["coffre/configuration.json", "coffre/offline-key.txt", "coffre/parameters.yaml"]
    assert started["stacks"] == []
    configuration = json.loads((machine.directory / "coffre/configuration.json").read_text())

    done = machine.coffre("init", *answers)

    assert done.status == 0, done.out + done.err
    assert done.out.startswith("You are protected."), done.out
    assert f"{SAMPLE}: 49 tables, " in done.out
    assert "restored and compared in" in done.out
    assert f"alerts go to {MAIL}, who confirmed it" in done.out
    assert json.loads((machine.directory / "coffre/configuration.json").read_text()) == configuration
    assert len(configuration["recipients"]) == 2
    for file in (machine.directory / "coffre").iterdir():
        assert PASSWORD not in file.read_text()
        if file.name != "offline-key.txt":
            assert "AGE-SECRET-KEY" not in file.read_text()
    assert yaml.safe_load((machine.directory / "coffre/parameters.yaml").read_text())["SourceBuckets"] == SAMPLE_FILES

    # The installed command works with the stack, and offers nothing that needs a checkout.
    shown = machine.coffre("--help").out
    assert ("  init " in shown, "  demo " in shown, "  local " in shown) == (True, False, False)
    assert machine.coffre("roles", "backup").out == (CHECKOUT / "docs/roles/backup.sql").read_text()
    listed = machine.coffre("list", "--stack", "coffre", "--json")
    assert {one["target"] for one in json.loads(listed.out)} == {SAMPLE, "files"}

    # Again: nothing is made or taken again, without any option.
    again = machine.coffre("init", "--built", machine.built, "--json")

    assert again.status == 0, again.err
    assert "Everything is as you want it" in again.err
    assert json.loads(again.out)["missing"] == []
    assert machine.coffre("list", "--stack", "coffre", "--json").out == listed.out
    assert {name: machine.everything()[name] for name in ("secrets", "files")} == {
        name: started[name] for name in ("secrets", "files")
    }

    # More: only that differs. The document of a stack is changed as a version of it.
    make_bucket(machine.client("s3"), "more", machine.environment["AWS_REGION"])
    wanted = ["--bucket", "more", "--address", "env:DATABASE_URL", "--database", "all"]
    more = machine.coffre("init", "--built", machine.built, *wanted)

    assert more.status == 0, more.out + more.err
    assert [line for line in more.err.splitlines() if line.startswith("  - ")] == [
        "  - Protect all databases of the server, new ones too, as the target db.",
        "  - Protect the bucket more as files.",
        "  - Store the database's address in the secret coffre/database/db.",
        "  - Set SourceBuckets = casa-files,more (it is casa-files).",
    ]
    assert "Version 1 of the configuration is in effect." in more.err
    assert {line.split()[1] for line in more.out.splitlines() if line.startswith("  proved ")} == {
        *("casa:", "db-casa:", "db-postgres:", "files:", "alerts"),
    }
    assert all(PASSWORD not in said.out + said.err for said in (dry, printed, done, again, more))
