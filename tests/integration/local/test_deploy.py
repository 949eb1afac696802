"""`coffre deploy` against CloudFormation: what is created, changed, kept, and refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from coffre_local.aws import ACCOUNT, isolated, session, start_aws
from coffre_local.toolchain import Toolchain

TEMPLATE: dict[str, Any] = {
    "Parameters": {"Title": {"Type": "String", "Default": "first"}, "Name": {"Type": "String", "Default": "setting"}},
    "Resources": {
        "Setting": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Type": "String", "Name": {"Ref": "Name"}, "Value": {"Ref": "Title"}},
        }
    },
    "Outputs": {"Title": {"Value": {"Ref": "Title"}}},
}


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Place:
    """The local AWS, and a directory with what was built."""

    environment: Mapping[str, str]
    built: Path

    def client(self, service: str) -> Any:
        own: Any = session(self.environment)
        return own.client(service, endpoint_url=self.environment["AWS_ENDPOINT_URL"])

    def value(self, name: str = "setting") -> str:
        return str(self.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

    def stacks(self) -> set[str]:
        found = self.client("cloudformation").describe_stacks()["Stacks"]
        return {one["StackName"] for one in found if one["StackStatus"] != "DELETE_COMPLETE"}

    def deploy(self, stack: str, *arguments: object, template: Mapping[str, Any] = TEMPLATE, stdin: str = "") -> Said:
        (self.built / "template.yaml").write_text(yaml.safe_dump(dict(template)))
        command = [sys.executable, "-m", "coffre_cli", "deploy", "--stack", stack, "--built", str(self.built)]
        path = {"PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [*command, *map(str, arguments)],
            env=isolated({**self.environment, **path}),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    aws = start_aws(Toolchain().ministack(), tmp_path_factory.mktemp("aws") / "aws")
    try:
        yield Place(aws.environment(), tmp_path_factory.mktemp("built"))
    finally:
        aws.stop()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "parameters.yaml").write_text(text)
        return tmp_path / "parameters.yaml"

    return write


def test_a_stack_is_created_changed_and_left_as_it_is(place: Place, written: Callable[[str], Path]) -> None:
    created = place.deploy("one", "--yes", "--json")
    changed = place.deploy("one", "--parameters", written("Title: second\n"), "--yes")
    kept = place.deploy("one", "--yes", "--json")

    assert json.loads(created.out) == {"stack": "one", "changes": 1, "outputs": {"Title": "first"}}, created.err
    assert "The stack one is deployed" in changed.out
    # A parameter that is not given keeps its value: it does not fall back to the template's default.
    assert json.loads(kept.out) == {"stack": "one", "changes": 0, "outputs": {"Title": "second"}}
    assert place.value() == "second"
    bucket = f"coffre-deploy-{ACCOUNT}-{place.environment['AWS_REGION']}"
    closed = place.client("s3").get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert all(closed.values())


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_without_a_yes_nothing_is_changed(place: Place, arguments: tuple[str, ...]) -> None:
    said = place.deploy("asked", *arguments, stdin="n\n")

    assert said.status == 1
    assert "A new stack: 1 added." in said.err
    assert "Nothing was changed." in said.err
    assert "asked" not in place.stacks()


def test_a_deployment_that_fails_names_the_cause_and_leaves_nothing(place: Place) -> None:
    broken = {
        **TEMPLATE,
        "Resources": {
            "Work": {"Type": "AWS::Lambda::Url", "Properties": {"TargetFunctionArn": "none", "AuthType": "AWS_IAM"}}
        },
        "Outputs": {},
    }

    said = place.deploy("broken", "--yes", template=broken)

    assert said.status == 1
    assert "[DEPLOY_FAILED]" in said.err
    assert "Work: " in said.err
    assert "broken" not in place.stacks()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Titel: x\n", "The template has no parameter Titel."),
        ("- Title\n", "it has a list, not names with values"),
        ("Title: {a: b}\n", "Title is neither a text nor a list of texts"),
        ("Title: [\n", "is not a file of template parameters"),
    ],
)
def test_wrong_parameters_are_one_clear_error(
    place: Place, written: Callable[[str], Path], text: str, words: str
) -> None:
    said = place.deploy("wrong", "--parameters", written(text), "--yes")

    assert said.status == 1
    assert words in said.err
    assert "[PARAMETERS_INVALID]" in said.err
    assert "wrong" not in place.stacks()


def test_code_that_was_not_built_says_what_to_do(place: Place, tmp_path: Path) -> None:
    said = place.deploy("missing", "--built", tmp_path, "--yes")

    assert said.status == 1
    assert "No built template was found" in said.err
    assert "sam build" in said.err
