"""An AWS of our own on a port of 127.0.0.1 (ministack), and the environment that leads clients to it alone.

Notes
-----
What ministack 1.5.33 does with `AUTH=true`, measured on 2026-11-22:

- The key `test`, like the one in ministack's own `AWS_ACCESS_KEY_ID`, is the account's root: it may do everything,
  bucket policies do not bind it, and its secret is not checked. Unknown keys are refused. Keys of users and roles are
  checked, signature included.
- A function gets its role's credentials (`assumed-role/<role>/<function>`); what the role does not allow is refused
  with AWS's own error codes. Enforced with the resource: S3 actions per bucket and key prefix (`s3:prefix` too),
  DynamoDB per table and action, those inside transactions too, SSM per parameter name, Secrets Manager per secret name,
  SNS per topic, SQS per queue, Lambda per function, KMS.
- Bucket policies are evaluated. Calls arrive without TLS, so `aws:SecureTransport` is false: a statement that asks for
  TLS would shut the functions out, and is left out of the local template.
- Condition keys `dynamodb:LeadingKeys` and `cloudwatch:namespace` are never set: `ForAllValues` then passes,
  `StringEquals` refuses.
- A missing object is `NoSuchKey` also for those who may not list; AWS answers `AccessDenied` to them.
- An asynchronous invocation is tried again after 1 and 2 seconds (`MaximumRetryAttempts` counts), then the failure
  destination gets its record, whose `approximateInvokeCount` is always 3.
- EventBridge starts scheduled rules within 10 seconds of their time, `Input` and `InputTransformer` included, but
  without retries or dead letters. It checks no `AWS::Lambda::Permission` (`schedule_rules` does).
- All it leaves behind is below its `TMPDIR`.
"""

import json
import shlex
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from coffre_local.errors import EmulatorError, tail_of
from coffre_local.ports import free_port
from coffre_local.processes import ProcessMark, end, minimal_environment, start_detached

if TYPE_CHECKING:
    import boto3

START_SECONDS = 60.0
ACCOUNT = "000000000000"
DEFAULT_REGION = "eu-west-1"
# ministack takes the key "test" for the account's root; the secret is checked when IAM is on.
ACCESS_KEY_ID = "test"
SECRET_ACCESS_KEY = "coffre-local"  # noqa: S105 (guards an emulator on this machine)
# Set by people who use AWS; with any of them a client ignores, or refuses, what `LocalAws.environment` says.
CONFLICTING = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL_STS")
# Variables that would lead a client to the user's own AWS.
LEADS_ELSEWHERE = "AWS_"


@dataclass(frozen=True, slots=True)
class LocalAws:
    """A running ministack: where it is, which process, which directory."""

    port: int
    mark: ProcessMark
    directory: Path
    region: str = DEFAULT_REGION

    @property
    def endpoint(self) -> str:
        """The address of every service."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """The emulator's log."""
        return self.directory / "ministack.log"

    def environment(self) -> dict[str, str]:
        """Return the variables that lead AWS clients to the emulator, away from the user's own profile."""
        nowhere = str(self.directory / "aws-config")
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": nowhere,
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def is_healthy(self) -> bool:
        """Return whether the emulator answers."""
        return self.mark.process() is not None and _answers(f"{self.endpoint}/_ministack/health")

    def stop(self) -> None:
        """End the emulator and the functions it runs, and remove its directory. May be called again."""
        end(self.mark, patience_seconds=3.0)
        shutil.rmtree(self.directory, ignore_errors=True)


def start_aws(
    home: Path, directory: Path, *, port: int = 0, region: str = DEFAULT_REGION, enforce_iam: bool = True
) -> LocalAws:
    """Start the emulator in the background and wait until it answers.

    Parameters
    ----------
    home
        Virtual environment of ministack.
    directory
        Made for its log and temporary files; `LocalAws.stop` removes it.
    port
        0 for a free one.
    enforce_iam
        Check signatures and let a call pass only when the caller's policies allow it.

    Raises
    ------
    EmulatorError
        It does not start; the detail has its last words.
    """
    port = port or free_port()
    mark = _spawn(home, directory, _server_environment(port, region, directory / "tmp", enforce_iam=enforce_iam))
    aws = LocalAws(port=port, mark=mark, directory=directory, region=region)
    try:
        _await_health(aws)
    except BaseException:
        end(mark)
        raise
    return aws


def _spawn(home: Path, directory: Path, environment: Mapping[str, str]) -> ProcessMark:
    (directory / "tmp").mkdir(parents=True, exist_ok=True)
    (directory / "aws-config").touch()
    log = directory / "ministack.log"
    try:
        return start_detached([str(home / "bin" / "ministack")], environment=environment, log=log, directory=directory)
    except psutil.NoSuchProcess:
        raise _not_started(log) from None


def _await_health(aws: LocalAws) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not aws.is_healthy():
        if aws.mark.process() is None or time.monotonic() > deadline:
            raise _not_started(aws.log)
        time.sleep(0.05)


def _server_environment(port: int, region: str, temporary: Path, *, enforce_iam: bool) -> dict[str, str]:
    return minimal_environment(
        AUTH="true" if enforce_iam else "false",
        AWS_ACCESS_KEY_ID=ACCESS_KEY_ID,
        AWS_SECRET_ACCESS_KEY=SECRET_ACCESS_KEY,
        AWS_DEFAULT_REGION=region,
        MINISTACK_REGION=region,
        # Where the functions that it runs find it.
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        # All addresses of the machine otherwise.
        BIND_HOST="127.0.0.1",
        GATEWAY_PORT=str(port),
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        LOG_LEVEL="WARNING",
        HOME=str(temporary),
        # Keys go there even when nothing is persisted; /tmp/ministack-state otherwise.
        STATE_DIR=str(temporary / "state"),
        TMPDIR=str(temporary),
    )


def _not_started(log: Path) -> EmulatorError:
    return EmulatorError(
        "The local AWS did not start.",
        code="LOCAL_AWS_START",
        detail=tail_of(log),
        hint="Is the port taken? Choose another one, or stop what uses it.",
    )


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310 (http, ours)
            json.load(response)
    except (OSError, ValueError):
        return False
    return True


def isolated(environment: Mapping[str, str], base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a child process: the caller's without its own AWS, plus the given one."""
    inherited = environ if base is None else base
    return {name: value for name, value in inherited.items() if not name.startswith(LEADS_ELSEWHERE)} | dict(
        environment
    )


def shell_commands(environment: Mapping[str, str]) -> list[str]:
    """Return what a shell has to evaluate to reach the emulator, whatever AWS it was set up for before."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in sorted(environment.items())]
    return [f"unset {' '.join(CONFLICTING)}", *exports]


@contextmanager
def activated(environment: Mapping[str, str]) -> Iterator[None]:
    """Let AWS clients of this process reach the emulator only, until the block ends."""
    before = dict(environ)
    wanted = isolated(environment)
    try:
        _replace_environment(wanted)
        yield
    finally:
        _replace_environment(before)


def _replace_environment(wanted: Mapping[str, str]) -> None:
    for name in set(environ) - set(wanted):
        del environ[name]
    environ.update(wanted)


def session(environment: Mapping[str, str]) -> "boto3.Session":
    """Return a session with the emulator's credentials that never reads the user's files or variables.

    Clients of it still have to be given `endpoint_url=environment["AWS_ENDPOINT_URL"]`.
    """
    import boto3  # Not above: each command reads the local stack's state, and would wait 0.1 s for it.
    import botocore.session

    nowhere = environment["AWS_CONFIG_FILE"]
    core = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, nowhere, None),
            "credentials_file": (None, None, nowhere, None),
        }
    )
    return boto3.Session(
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
        botocore_session=core,
    )
