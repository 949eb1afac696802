"""The built template is rewritten for the local AWS without losing what the tests are about."""

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coffre_local.local_template import (
    CONSOLE_HOST,
    LocalFunction,
    bootstrap,
    functions_of,
    localised,
    with_local_console,
)

BUILT: dict[str, Any] = {
    "Globals": {"Function": {"Runtime": "python3.13", "Architectures": ["arm64"], "Layers": [{"Ref": "CoffreLayer"}]}},
    "Resources": {
        "Vault": {"Type": "AWS::S3::Bucket"},
        "CoffreLayer": {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": "CoffreLayer"}},
        "ClientLayer": {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": "ClientLayer"}},
        "BackupFunction": {
            "Type": "AWS::Serverless::Function",
            "Properties": {
                "CodeUri": "BackupFunction",
                "Handler": "handler.handler",
                "Timeout": 900,
                "Layers": [{"Ref": "ClientLayer"}],
                "Environment": {"Variables": {"VAULT": {"Ref": "Vault"}}},
            },
        },
        "RotateFunction": {
            "Type": "AWS::Serverless::Function",
            "Properties": {"CodeUri": "RotateFunction", "Handler": "handler.handler", "Runtime": "python3.13"},
        },
        "VaultPolicy": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {
                "Bucket": {"Ref": "Vault"},
                "PolicyDocument": {
                    "Statement": [
                        {"Sid": "Tls", "Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
                        {"Sid": "NoDelete", "Effect": "Deny", "Action": "s3:DeleteBucket"},
                    ]
                },
            },
        },
        "TopicPolicy": {
            "Type": "AWS::SNS::TopicPolicy",
            "Properties": {
                "PolicyDocument": {
                    "Statement": {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": False}}}
                }
            },
        },
    },
    "Outputs": {
        "Vault": {"Value": {"Ref": "Vault"}},
        "Layer": {"Value": {"Ref": "CoffreLayer"}},
        "LayerName": {"Value": {"Fn::Sub": "${ClientLayer}"}},
    },
}
CODE = {"BackupFunction": "/staged/backup", "RotateFunction": "/staged/rotate"}


def test_functions_get_the_common_layers_first() -> None:
    assert functions_of(BUILT) == [
        LocalFunction("BackupFunction", ("CoffreLayer", "ClientLayer")),
        LocalFunction("RotateFunction", ("CoffreLayer",)),
    ]


def test_functions_run_the_staged_code_on_a_custom_runtime() -> None:
    local = localised(BUILT, CODE, {})

    backup = local["Resources"]["BackupFunction"]["Properties"]
    assert (backup["Runtime"], backup["CodeUri"]) == ("provided.al2023", "/staged/backup")
    assert local["Resources"]["RotateFunction"]["Properties"]["Runtime"] == "provided.al2023"
    assert local["Globals"] == {"Function": {}}


def test_what_the_owner_wrote_about_a_function_stays() -> None:
    backup = localised(BUILT, CODE, {})["Resources"]["BackupFunction"]["Properties"]

    assert backup["Handler"] == "handler.handler"
    assert backup["Timeout"] == 900
    assert backup["Environment"] == {"Variables": {"VAULT": {"Ref": "Vault"}}}


def test_layers_and_what_refers_to_them_go() -> None:
    local = localised(BUILT, CODE, {})

    assert not {"CoffreLayer", "ClientLayer"} & set(local["Resources"])
    assert set(local["Outputs"]) == {"Vault"}


def test_only_demands_for_tls_leave_the_resource_policies() -> None:
    local = localised(BUILT, CODE, {})

    [statement] = local["Resources"]["VaultPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert statement["Sid"] == "NoDelete"
    assert "TopicPolicy" not in local["Resources"]


def test_conditions_on_what_the_local_aws_does_not_know_leave_the_identities_policies() -> None:
    def statement(**condition: Any) -> dict[str, Any]:
        return {"Effect": "Allow", "Action": "x", **({"Condition": condition} if condition else {})}

    keys = {"dynamodb:LeadingKeys": ["LOCK"]}
    source = [
        statement(Null={"s3:if-none-match": "false"}),
        statement(**{"ForAllValues:StringEquals": keys, "Null": {"dynamodb:LeadingKeys": "false", "aws:x": "true"}}),
        {"Fn::If": ["HasBuckets", statement(Null={"s3:if-none-match": "false"}), {"Ref": "AWS::NoValue"}]},
    ]
    built = copy.deepcopy(BUILT)
    built["Conditions"] = {"HasBuckets": {"Fn::Equals": ["yes", "yes"]}}
    built["Resources"]["Role"] = {
        "Type": "AWS::IAM::Role",
        "Condition": "HasBuckets",
        "Properties": {"Policies": [{"PolicyDocument": {"Statement": source}}]},
    }
    deny = {"Sid": "OnlyNew", "Effect": "Deny", "Condition": {"Null": {"s3:if-none-match": "true"}}}
    built["Resources"]["VaultPolicy"]["Properties"]["PolicyDocument"]["Statement"].append(deny)

    resources = localised(built, CODE, {})["Resources"]

    assert resources["Role"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"] == [
        statement(),
        statement(Null={"aws:x": "true"}),
        {"Fn::If": ["HasBuckets", statement(), {"Ref": "AWS::NoValue"}]},
    ]
    assert resources["Role"]["Condition"] == "HasBuckets"
    assert deny in resources["VaultPolicy"]["Properties"]["PolicyDocument"]["Statement"]


def test_the_given_template_is_not_changed() -> None:
    before = copy.deepcopy(BUILT)

    localised(BUILT, CODE, {})

    assert before == BUILT


@pytest.fixture
def layers(tmp_path: Path) -> list[Path]:
    """A layer of Python packages, and one with PostgreSQL's programs, below a path that a shell would split."""
    packages, client = tmp_path / "it's a layer", tmp_path / "client"
    (packages / "python").mkdir(parents=True)
    (client / "postgresql" / "bin").mkdir(parents=True)
    return [packages, client]


def test_the_bootstrap_starts_the_client_in_the_functions_environment(layers: list[Path], tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PWD|$PYTHONPATH|$COFFRE_POSTGRES_HOME|$*"\n')
    python.chmod(0o755)
    task = tmp_path / "task"
    task.mkdir()

    said = subprocess.run(
        ["/bin/sh", "-c", bootstrap(python, tmp_path / "client of aws", layers)],
        env={"LAMBDA_TASK_ROOT": str(task), "_HANDLER": "handler.handler"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    directory, path, home, arguments = said.split("|")
    assert directory == str(task)
    assert path.split(":") == [str(task), str(layers[0] / "python"), str(tmp_path / "client of aws")]
    assert home == str(layers[1] / "postgresql")
    assert arguments == "-S -m awslambdaric handler.handler"


def test_a_function_without_the_client_layer_has_no_postgresql(layers: list[Path], tmp_path: Path) -> None:
    assert "COFFRE_POSTGRES_HOME" not in bootstrap(tmp_path / "python", tmp_path, layers[:1])


def test_the_console_is_found_where_the_local_aws_serves_it() -> None:
    template = (Path(__file__).parents[3] / "template.yaml").read_text()

    local = with_local_console(template, "http://127.0.0.1:4566")

    assert CONSOLE_HOST in template
    assert CONSOLE_HOST not in local
    assert "http://${ConsoleApi}.execute-api.localhost:4566" in local
