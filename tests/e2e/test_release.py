"""The installed command: from its wheel, in an environment of its own, to a protected database."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from supply_chain.release import build_wheel
from tests.e2e.conftest import COMMAND_SECONDS, Said

from coffre_cli.deploying.bundle import ARCHITECTURES
from coffre_local.aws import isolated, session, start_aws
from coffre_local.deployment import Deployment
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
UV = Path(sys.executable).with_name("uv")


@dataclass(frozen=True)
class Machine:
    """A machine of an operator: an environment with the wheel alone, a directory to work in, and an AWS account."""

    directory: Path
    python: Path
    environment: Mapping[str, str]
    built: Path

    def coffre(self, *arguments: object) -> Said:
        done = subprocess.run(
            [str(self.python.with_name("coffre")), *map(str, arguments)],
            cwd=self.directory,
            env=isolated(self.environment, {"PATH": os.environ["PATH"], "HOME": str(self.directory)}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert PASSWORD not in done.stdout + done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    def client(self, service: str) -> Any:
        own: Any = session(self.environment)
        return own.client(service, endpoint_url=self.environment["AWS_ENDPOINT_URL"])

    def everything(self) -> dict[str, list[str]]:
        """Name what exists in the account and in the directory."""
        return {
            "secrets": [one["Name"] for one in self.client("secretsmanager").list_secrets()["SecretList"]],
            "buckets": [one["Name"] for one in self.client("s3").list_buckets()["Buckets"]],
            "stacks": [one["StackName"] for one in self.client("cloudformation").describe_stacks()["Stacks"]],
            "files": sorted(str(one.relative_to(self.directory)) for one in self.directory.rglob("*") if one.is_file()),
        }


def installed(directory: Path, wheel: Path) -> Path:
    """Install the wheel into a new environment, from uv's cache where that has everything; return its Python."""
    python = directory / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, directory], check=True)
    command = [str(UV), "pip", "install", "--quiet", "--python", str(python), str(wheel)]
    if subprocess.run([*command, "--offline"], capture_output=True, check=False).returncode:
        subprocess.run(command, check=True)
    return python


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    # The drill's PostgreSQL runs as another user, who has to reach its layer.
    directory = Path(tempfile.mkdtemp(prefix="coffre-release-"))
    directory.chmod(0o711)
    toolchain = Toolchain()
    deployment = Deployment(directory, checkout=CHECKOUT, toolchain=toolchain)
    built = deployment.build()
    [architecture] = {
        name for name in ARCHITECTURES if f"BuildArchitecture: {name}" in (built / "template.yaml").read_text()
    }
    wheel = build_wheel({architecture: built}, directory / "dist", level=1)
    python = installed(directory / "venv", wheel)
    aws = start_aws(toolchain.ministack(), directory / "aws")
    server = PostgresServer(toolchain.embedded_postgresql(), ServerOptions(password=PASSWORD))
    try:
        with server:
            url = server.create_database(SAMPLE)
            load(url, scale=0.02)
            work = directory / "work"
            work.mkdir()
            made = Machine(work, python, {**aws.environment(), "DATABASE_URL": url}, directory)
            make_bucket(made.client("s3"), SAMPLE_FILES, aws.region)
            load_files(made.client("s3"), SAMPLE_FILES, scale=0.02)
            unpacked = directory / "unpacked"
            said = made.coffre("deploy", "--unpack", unpacked, "--architecture", architecture)
            assert said.status == 0, said.err
            # The local AWS has neither Lambda's Python nor layers: it gets what the wheel has in its own form.
            local = deployment.stage(unpacked, PARAMETERS).parent
            yield Machine(work, python, made.environment, local)
    finally:
        aws.stop()
        shutil.rmtree(directory)


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
    assert done.out.startswith("You are protected.")
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

    # The installed command works with the stack.
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
