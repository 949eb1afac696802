"""`coffre deploy --receiver`: the stack of the receiving account, from the same code as any other."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError
from moto import mock_aws
from supply_chain.release import build_wheel
from tests.unit.cli.conftest import Coffre

from coffre_cli import aws
from coffre_cli.deploying import deploy, receiver
from coffre_cli.deploying.bundle import Built
from coffre_cli.deploying.change_set import Change, ChangeSet
from coffre_cli.deploying.template import parse_template

ROOT = Path(__file__).parents[4]
ROLE = "arn:aws:iam::444455556666:role/coffre-CopyRole-1ABC"
READERS = "arn:aws:iam::444455556666:role/coffre-VerifyRole-1ABC,arn:aws:iam::444455556666:role/coffre-RestoreRole-1ABC"


class Stack:
    """CloudFormation, as far as a deployment asks it: what it is asked for is kept."""

    known: ClassVar[dict[str, str]] = {}
    proposed: ClassVar[tuple[str, dict[str, str]] | None] = None
    done: ClassVar[list[str]] = []

    def __init__(self, name: str, client: object) -> None:
        self.name = name

    def settled(self, on_event: object) -> None: ...

    def parameters(self) -> dict[str, str]:
        return dict(self.known)

    def outputs(self) -> dict[str, str]:
        return {"CopyBucket": "receiver-copies"}

    def propose(self, url: str, parameters: Mapping[str, str], known: Mapping[str, Any]) -> ChangeSet:
        type(self).proposed = (url, dict(parameters))
        return ChangeSet("arn", "id", True, (Change("Add", "CopyBucket", "AWS::S3::Bucket", None),))

    def carry_out(self, change_set: ChangeSet, on_event: object) -> dict[str, str]:
        self.done.append(f"deployed {self.name}")
        return self.outputs()

    def discard(self, change_set: ChangeSet) -> None:
        self.done.append(f"discarded {self.name}")


@pytest.fixture
def stack(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Stack]]:
    monkeypatch.delenv("COFFRE_STACK", raising=False)
    with mock_aws():
        # moto takes the policy of a bucket that the command makes to refuse all: this one has none.
        place: Any = {"LocationConstraint": "eu-west-1"}
        boto3.client("s3").create_bucket(Bucket="code", CreateBucketConfiguration=place)
        made = type("OfThisTest", (Stack,), {"done": []})
        monkeypatch.setattr(deploy, "Stack", made)
        yield made


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What `sam build` writes of template.yaml, as far as it matters here."""
    layer = {"Type": "AWS::Serverless::LayerVersion", "Properties": {"ContentUri": "CoffreLayer"}}
    (tmp_path / "built/CoffreLayer/python").mkdir(parents=True)
    (tmp_path / "built/CoffreLayer/python/one.py").write_text("1")
    (tmp_path / "built/template.yaml").write_text(yaml.safe_dump({"Resources": {"CoffreLayer": layer}}))
    return tmp_path / "built"


@pytest.fixture
def parameters(tmp_path: Path) -> Path:
    file = tmp_path / "parameters.yaml"
    file.write_text(f"CopyRoleArn: {ROLE}\nReaderRoleArns: {READERS}\nDailyDays: 60\n")
    return file


def stored(key: str) -> bytes:
    body: bytes = boto3.client("s3").get_object(Bucket=key.split("/")[-2], Key=key.split("/")[-1])["Body"].read()
    return body


def test_the_receiver_is_deployed_with_the_layer_and_its_own_function(
    coffre: Coffre, stack: type[Stack], built: Path, parameters: Path
) -> None:
    said = coffre(
        "deploy", "--receiver", "--built", built, "--parameters", parameters, "--code-bucket", "code", "--yes"
    )

    assert said.status == 0, said.err
    assert stack.done == ["deployed coffre-receiver"]
    assert "CopyBuckets is receiver-copies" in " ".join(said.out.split())
    assert stack.proposed is not None
    url, given = stack.proposed
    assert given == {"CopyRoleArn": ROLE, "ReaderRoleArns": READERS, "DailyDays": "60"}
    template = json.loads(stored(url))
    resources = template["Resources"]
    code = resources["RotateFunction"]["Properties"].pop("CodeUri")
    layer = resources["CoffreLayer"]["Properties"].pop("ContentUri")
    with zipfile.ZipFile(io.BytesIO(stored(f"{code['Bucket']}/{code['Key']}"))) as archive:
        assert archive.read("handler.py") == (ROOT / "receiver/handler.py").read_bytes()
    with zipfile.ZipFile(io.BytesIO(stored(f"{layer['Bucket']}/{layer['Key']}"))) as archive:
        assert archive.namelist() == ["python/one.py"]
    # Nothing else of the template is changed
    source = parse_template((ROOT / "receiver.yaml").read_text())
    del source["Resources"]["RotateFunction"]["Properties"]["CodeUri"]
    del source["Resources"]["CoffreLayer"]["Properties"]["ContentUri"]
    del source["Resources"]["CoffreLayer"]["Metadata"]
    assert template == json.loads(json.dumps(source))


def test_a_dry_run_changes_nothing(coffre: Coffre, stack: type[Stack], built: Path, parameters: Path) -> None:
    said = coffre(
        "deploy", "--receiver", "--built", built, "--parameters", parameters, "--code-bucket", "code", "--dry-run"
    )

    assert (said.status, "Nothing was changed." in said.err) == (0, True)
    assert "1 added" in said.err
    assert stack.done == ["discarded coffre-receiver"]


def test_without_the_sources_roles_nothing_is_deployed(coffre: Coffre, stack: type[Stack], built: Path) -> None:
    said = coffre("deploy", "--receiver", "--built", built, "--yes")

    assert said.status == 1
    assert "CopyRoleArn is missing" in said.err
    assert "--for-receiver FILE" in said.err
    assert (stack.proposed, stack.done) == (None, [])


def test_one_template_is_never_deployed_over_the_other(
    coffre: Coffre, stack: type[Stack], built: Path, parameters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "known", {"VaultPrefix": ""})
    over = coffre("deploy", "--receiver", "--stack", "coffre", "--built", built, "--parameters", parameters, "--yes")
    monkeypatch.setattr(stack, "known", {"CopyRoleArn": ROLE})
    other = coffre("deploy", "--stack", "coffre-receiver", "--built", built, "--yes")

    assert (over.status, "takes backups" in over.err, "[STACK_OTHER]" in over.err) == (1, True, True)
    assert (other.status, "receives copies" in other.err) == (1, True)
    assert (stack.proposed, stack.done) == (None, [])


class Formation:
    """CloudFormation, which knows the resources of the stack `coffre`."""

    def describe_stack_resource(self, StackName: str, LogicalResourceId: str) -> dict[str, Any]:  # noqa: N803
        if StackName != "coffre":
            raise ClientError({"Error": {"Code": "ValidationError", "Message": "no stack"}}, "DescribeStackResource")
        return {"StackResourceDetail": {"PhysicalResourceId": f"coffre-{LogicalResourceId}-1ABC"}}


def test_the_source_writes_what_the_receiver_needs(
    coffre: Coffre, stack: type[Stack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = aws.client
    monkeypatch.setattr(aws, "client", lambda service: Formation() if service == "cloudformation" else make(service))

    said = coffre("deploy", "--for-receiver", tmp_path / "for.yaml")
    none = coffre("deploy", "--for-receiver", tmp_path / "none.yaml", "--stack", "nosuch")
    both = coffre("deploy", "--for-receiver", tmp_path / "x", "--receiver")

    assert said.status == 0, said.err
    role = "arn:aws:iam::123456789012:role/coffre"
    assert deploy.read_parameters(tmp_path / "for.yaml") == {
        "CopyRoleArn": f"{role}-CopyRole-1ABC",
        "ReaderRoleArns": f"{role}-VerifyRole-1ABC,{role}-RestoreRole-1ABC",
    }
    assert (none.status, "[STACK_UNKNOWN]" in none.err, both.status) == (1, True, 2)
    assert not (tmp_path / "none.yaml").exists()


def test_the_wheel_carries_the_receiver(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(build_wheel({"x86_64": built}, tmp_path / "dist", level=1)) as wheel:
        wheel.extractall(tmp_path / "installed")
    folder = tmp_path / "installed/coffre_cli/receiver"
    monkeypatch.setattr(receiver, "_CARRIED", (folder / "receiver.yaml", folder / "function/handler.py"))
    monkeypatch.setattr(receiver, "_CHECKOUT", (tmp_path / "nowhere", tmp_path / "nowhere"))

    with receiver.receiver_of(Built(built, yaml.safe_load((built / "template.yaml").read_text()))) as found:
        function = Path(found.template["Resources"]["RotateFunction"]["Properties"]["CodeUri"])
        assert [file.name for file in function.iterdir()] == ["handler.py"]
    assert not function.exists()
