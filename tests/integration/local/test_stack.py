"""The local stack deploys a template of Coffre's shape, runs its functions, and goes away without a trace."""

import datetime
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg2
import pytest

from coffre_local.aws import session
from coffre_local.processes import minimal_environment, start_detached
from coffre_local.schedule_rules import fire_rule, rules_of
from coffre_local.stack import SAMPLE, StackOptions, down, environment_of, up
from coffre_local.state import LocalState, read_state, write_state

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

TEMPLATE = """
AWSTemplateFormatVersion: "2010-09-09"
Transform: AWS::Serverless-2016-10-31
Parameters:
  Recipient: {Type: String}
Globals:
  Function: {Runtime: python3.13, Timeout: 20, Layers: [!Ref CoffreLayer]}
Resources:
  CoffreLayer:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: python3.13}
    Properties: {ContentUri: layers/coffre, CompatibleRuntimes: [python3.13]}
  ClientLayer:
    Type: AWS::Serverless::LayerVersion
    Metadata: {BuildMethod: makefile}
    Properties: {ContentUri: layers/client, CompatibleRuntimes: [python3.13]}
  ProbeFunction:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/probe
      Handler: handler.handler
      Layers: [!Ref ClientLayer]
      Environment: {Variables: {RECIPIENT: !Ref Recipient}}
  Daily:
    Type: AWS::Events::Rule
    Properties:
      ScheduleExpression: cron(0 3 * * ? *)
      Targets:
        - Id: probe
          Arn: !GetAtt ProbeFunction.Arn
          InputTransformer:
            InputPathsMap: {time: $.time}
            InputTemplate: '{"target": "casa", "scheduled_time": <time>}'
  DailyPermission:
    Type: AWS::Lambda::Permission
    Properties:
      Action: lambda:InvokeFunction
      FunctionName: !Ref ProbeFunction
      Principal: events.amazonaws.com
      SourceArn: !GetAtt Daily.Arn
Outputs:
  Probe: {Value: !Ref ProbeFunction}
"""
HANDLER = """
import importlib.util, os, subprocess
import coffre

class ProbeError(Exception):
    pass

def handler(event, context):
    print("EVENT", event)
    if "fail" in event:
        raise ProbeError("as asked")
    program = os.environ["COFFRE_POSTGRES_HOME"] + "/bin/pg_dump"
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout.strip()
    strangers = [name for name in ("ministack", "pytest", "pip") if importlib.util.find_spec(name)]
    return {"layer": coffre.NAME, "pg_dump": said, "recipient": os.environ["RECIPIENT"], "strangers": strangers}
"""
MAKEFILE = """
build-ClientLayer:
\tmkdir -p $(ARTIFACTS_DIR)/postgresql/bin
\tprintf '#!/bin/sh\\necho dumped\\n' > $(ARTIFACTS_DIR)/postgresql/bin/pg_dump
\tchmod 755 $(ARTIFACTS_DIR)/postgresql/bin/pg_dump
"""
FILES = {
    "template.yaml": TEMPLATE,
    "functions/probe/handler.py": HANDLER,
    "layers/coffre/requirements.txt": "",
    "layers/coffre/coffre/__init__.py": "NAME = 'the layer'\n",
    "layers/client/Makefile": MAKEFILE,
}
RECIPIENT = 'age1 with a space, a comma and "quotes"'
OPTIONS = StackOptions(
    databases={"shop": "postgresql://shop.example/shop"},
    sample=True,
    sample_scale=0.01,
    prepare=lambda environment: {"Recipient": RECIPIENT},
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with a function, two layers and a schedule."""
    root = tmp_path_factory.mktemp("checkout")
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(scope="module")
def stack(checkout: Path) -> Iterator[LocalState]:
    """A stack that is up, with the sample database."""
    yield up(OPTIONS, checkout=checkout)
    down(checkout=checkout)


@pytest.fixture
def functions(stack: LocalState) -> "LambdaClient":
    """The local Lambda."""
    environment = environment_of(stack)
    return session(environment).client("lambda", endpoint_url=environment["AWS_ENDPOINT_URL"])


def invoke(functions: "LambdaClient", name: str, event: dict[str, Any]) -> dict[str, Any]:
    with closing(functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())["Payload"]) as body:
        answer: dict[str, Any] = json.load(body)
    return answer


def secret_of(stack: LocalState, name: str) -> str:
    environment = environment_of(stack)
    client = session(environment).client("secretsmanager", endpoint_url=environment["AWS_ENDPOINT_URL"])
    return client.get_secret_value(SecretId=f"coffre/database/{name}")["SecretString"]


def logged(stack: LocalState, function: str, text: str) -> bool:
    environment = environment_of(stack)
    client = session(environment).client("logs", endpoint_url=environment["AWS_ENDPOINT_URL"])
    try:
        events = client.filter_log_events(logGroupName=f"/aws/lambda/{function}")["events"]
    except client.exceptions.ResourceNotFoundException:
        return False
    return any(text in event["message"] for event in events)


def test_a_function_finds_its_layers_and_nothing_else(stack: LocalState, functions: "LambdaClient") -> None:
    answer = invoke(functions, stack.outputs["Probe"], {})

    assert answer == {"layer": "the layer", "pg_dump": "dumped", "recipient": RECIPIENT, "strangers": []}


def test_a_failure_keeps_its_own_name(stack: LocalState, functions: "LambdaClient") -> None:
    answer = invoke(functions, stack.outputs["Probe"], {"fail": True})

    assert (answer["errorType"], answer["errorMessage"]) == ("ProbeError", "as asked")


def test_the_sample_is_loaded_and_its_url_is_a_secret(stack: LocalState) -> None:
    with closing(psycopg2.connect(secret_of(stack, SAMPLE))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) > 5 FROM pg_stat_user_tables")
        assert cursor.fetchone() == (True,)
    assert stack.databases == (SAMPLE, "shop")


def test_a_rule_fires_with_the_time_it_is_given(stack: LocalState) -> None:
    environment = environment_of(stack)
    rule = rules_of(environment, stack.stack)["Daily"]

    [firing] = fire_rule(environment, rule, datetime.datetime(2026, 7, 1, 3, 0, tzinfo=datetime.UTC))

    assert firing.function == stack.outputs["Probe"]
    deadline = time.monotonic() + 60
    while not logged(stack, firing.function, "'scheduled_time': '2026-07-01T03:00:00Z'"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_up_again_changes_nothing_but_adds_databases(stack: LocalState, checkout: Path) -> None:
    again = up(StackOptions(databases={"blog": "postgresql://blog.example/blog"}), checkout=checkout)

    assert (again.aws, again.postgres, again.outputs) == (stack.aws, stack.postgres, stack.outputs)
    assert secret_of(stack, "blog") == "postgresql://blog.example/blog"
    assert again.databases == ("blog", SAMPLE, "shop")


def test_the_sample_can_be_added_later(tmp_path: Path, checkout: Path) -> None:
    shutil.copytree(checkout, tmp_path / "other", ignore=shutil.ignore_patterns(".coffre", "*.lock"))
    empty = up(replace(OPTIONS, sample=False), checkout=tmp_path / "other")

    later = up(replace(OPTIONS, databases=None), checkout=tmp_path / "other")

    down(checkout=tmp_path / "other")
    assert (empty.databases, empty.postgres) == (("shop",), None)
    assert later.databases == (SAMPLE, "shop")


def test_a_failed_up_leaves_nothing(checkout: Path, tmp_path: Path) -> None:
    seen: list[LocalState] = []

    def prepare(environment: object) -> dict[str, str]:
        state = read_state(tmp_path)
        assert state is not None
        seen.append(state)
        raise RuntimeError("no key")

    with pytest.raises(RuntimeError, match="no key"):
        up(StackOptions(prepare=prepare), checkout=tmp_path)

    [state] = seen
    assert state.status == "starting"
    assert state.aws is not None
    assert state.aws.mark.process() is None
    assert not state.directory.exists()
    assert read_state(tmp_path) is None


def test_down_ends_what_a_killed_up_had_no_time_to_record(tmp_path: Path) -> None:
    directory = tmp_path / "local"
    directory.mkdir()
    orphan = start_detached(
        ["/bin/sleep", "600"], environment=minimal_environment(), log=directory / "log", directory=directory
    )
    write_state(LocalState(status="starting", stack="coffre", directory=directory), tmp_path)

    assert down(checkout=tmp_path) is True

    assert orphan.process() is None
    assert not directory.exists()


def test_a_stack_that_is_down_has_left_no_process(checkout: Path, stack: LocalState) -> None:
    assert down(checkout=checkout) is True

    assert not stack.directory.exists()
    commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    assert not [command for command in commands if str(stack.directory) in command]
