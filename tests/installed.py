"""A machine of an operator: the wheel of this checkout in an environment of its own, and a local AWS account."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from supply_chain.release import build_wheel
from tests.e2e.conftest import copied

from coffre_cli.deploying.bundle import ARCHITECTURES
from coffre_local.aws import isolated, session, start_aws
from coffre_local.deployment import Deployment
from coffre_local.toolchain import CHECKOUT, Toolchain

_UV = Path(sys.executable).with_name("uv")
_LOCKED = CHECKOUT / "requirements" / "dev.txt"
_COMMAND_SECONDS = 600


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Machine:
    """Where the command `coffre` is installed.

    Parameters
    ----------
    directory
        Its working directory and home.
    built
        What the wheel carries, in the form that the local AWS can run: for `--built`.
    """

    directory: Path
    python: Path
    environment: Mapping[str, str]
    built: Path

    def coffre(self, *arguments: object, **variables: str) -> Ended:
        """Run the command as an operator does, without a terminal."""
        own = {**self.environment, **variables}
        done = subprocess.run(
            [str(self.python.with_name("coffre")), *map(str, arguments)],
            cwd=self.directory,
            env=isolated(own, {"PATH": os.environ["PATH"], "HOME": str(self.directory)}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def client(self, service: str) -> Any:
        """Return a client of the account's root."""
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


def wheel_of_this_checkout(directory: Path) -> tuple[Path, str]:
    """Build the wheel for this machine's architecture alone, quickly; return its place, and the architecture.

    From a copy: in the checkout itself, byte code of other tests comes and goes while SAM copies it.
    """
    with copied(directory / "checkout") as checkout:
        built = Deployment(directory, checkout=checkout.root).build()
    template = (built / "template.yaml").read_text()
    [architecture] = [name for name in ARCHITECTURES if f"BuildArchitecture: {name}" in template]
    return build_wheel({architecture: built}, directory / "dist", level=1), architecture


def install(wheel: Path, directory: Path) -> Path:
    """Install the wheel into a new environment, from uv's cache where that has everything; return its Python.

    Libraries have the versions that are locked here: what was published since must not decide about a test.
    """
    python = directory / "bin" / "python"
    subprocess.run([str(_UV), "venv", "--quiet", "--python", sys.executable, str(directory)], check=True)
    command = [
        str(_UV),
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        "--constraints",
        str(_LOCKED),
        str(wheel),
    ]
    if subprocess.run([*command, "--offline"], capture_output=True, check=False).returncode:
        subprocess.run(command, check=True)
    return python


@contextmanager
def operators_machine(parameters: Mapping[str, str]) -> Iterator[Machine]:
    """Give a fresh machine and a fresh account.

    Parameters
    ----------
    parameters
        Of the template, as the stack will have them: the local AWS cannot decide the template's conditions.
    """
    # A drill's PostgreSQL runs as another user, who has to reach its layer.
    directory = Path(tempfile.mkdtemp(prefix="coffre-machine-"))
    directory.chmod(0o711)
    toolchain = Toolchain()
    wheel, architecture = wheel_of_this_checkout(directory)
    work, unpacked = directory / "work", directory / "unpacked"
    work.mkdir()
    aws = start_aws(toolchain.ministack(), directory / "aws")
    try:
        bare = Machine(work, install(wheel, directory / "venv"), aws.environment(), unpacked)
        said = bare.coffre("deploy", "--unpack", unpacked, "--architecture", architecture)
        assert said.status == 0, said.err
        # The local AWS has neither Lambda's Python nor layers: it gets what the wheel has in its own form.
        yield replace(bare, built=Deployment(directory, toolchain=toolchain).stage(unpacked, parameters).parent)
    finally:
        aws.stop()
        shutil.rmtree(directory)
