"""`coffre deploy` and `coffre completion`: built code goes to CloudFormation without a checkout or SAM."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from moto import mock_aws
from supply_chain.release import build_wheel
from tests.unit.cli.conftest import Coffre

from coffre_cli.deploying.account import Account
from coffre_cli.deploying.bundle import Bundle, built_code
from coffre_cli.deploying.errors import BundleError, DeployError
from coffre_cli.deploying.packaging import archived, packaged

TEMPLATE: dict[str, Any] = {
    "Transform": "AWS::Serverless-2016-10-31",
    "Resources": {
        "Libraries": {
            "Type": "AWS::Serverless::LayerVersion",
            "Metadata": {"BuildMethod": "makefile", "BuildArchitecture": "arm64"},
            "Properties": {"ContentUri": "Libraries"},
        },
        "Work": {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "Work", "Handler": "handler.handler"}},
        "Topic": {"Type": "AWS::SNS::Topic"},
        "Machine": {
            "Type": "AWS::Serverless::StateMachine",
            "Properties": {"DefinitionUri": "../sources/spread.asl.json", "Type": "STANDARD"},
        },
    },
}
DEFINITION = {"StartAt": "Work", "States": {"Work": {"Type": "Succeed"}}}


def built(place: Path, template: Mapping[str, Any] = TEMPLATE) -> Path:
    """Write what `sam build` would."""
    for name, text in (("Libraries/python/one.py", "1"), ("Libraries/bin/tool", "#!/bin/sh"), ("Work/handler.py", "2")):
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (place / "Libraries/bin/tool").chmod(0o755)
    (place / "template.yaml").write_text(yaml.safe_dump(dict(template)))
    # `sam build` leaves definitions of state machines where they are, and names them from where it wrote the template.
    (place.parent / "sources").mkdir(exist_ok=True)
    (place.parent / "sources" / "spread.asl.json").write_text(json.dumps(DEFINITION))
    return place


# --- the archive that the wheel carries ---


def test_the_wheel_gives_the_code_of_each_architecture_as_it_was_built(tmp_path: Path) -> None:
    x86, arm = built(tmp_path / "x86"), built(tmp_path / "arm")
    (arm / "Libraries/python/one.py").write_text("another")

    with zipfile.ZipFile(build_wheel({"x86_64": x86, "arm64": arm}, tmp_path / "dist", level=1)) as wheel:
        wheel.extractall(tmp_path / "installed")

    carried = Bundle.carried(tmp_path / "installed/coffre_cli/bundle")
    assert carried is not None
    assert carried.architectures == ("arm64", "x86_64")
    for architecture, source in (("x86_64", x86), ("arm64", arm)):
        place = carried.unpack(architecture, tmp_path / f"unpacked-{architecture}")
        assert {str(file.relative_to(place)): file.read_bytes() for file in place.rglob("*") if file.is_file()} == {
            str(file.relative_to(source)): file.read_bytes() for file in source.rglob("*") if file.is_file()
        }
        assert os.access(place / "Libraries/bin/tool", os.X_OK)
        assert not os.access(place / "Work/handler.py", os.X_OK)


def test_the_wheel_carries_the_definitions_of_state_machines(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel({"arm64": built(tmp_path / "arm")}, tmp_path / "dist", level=1)) as wheel:
        wheel.extractall(tmp_path / "installed")
    carried = Bundle.carried(tmp_path / "installed/coffre_cli/bundle")
    assert carried is not None
    place = carried.unpack("arm64", tmp_path / "elsewhere" / "unpacked")

    ready = packaged(yaml.safe_load((place / "template.yaml").read_text()), place, lambda name, _: {"Key": name})

    assert ready["Resources"]["Machine"]["Properties"] == {"Definition": DEFINITION, "Type": "STANDARD"}


def test_the_same_sources_are_the_same_wheel(tmp_path: Path) -> None:
    code = {"arm64": built(tmp_path / "arm")}

    first, second = (build_wheel(code, tmp_path / name, level=1) for name in ("one", "two"))

    assert first.read_bytes() == second.read_bytes()
    assert (first.parent / "SHA256SUMS").read_text() == (second.parent / "SHA256SUMS").read_text()


def test_a_damaged_archive_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with zipfile.ZipFile(build_wheel({"arm64": built(tmp_path / "arm")}, tmp_path, level=1)) as wheel:
        wheel.extractall(tmp_path)
    archive = tmp_path / "coffre_cli/bundle/artifacts.tar.zst"
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    target = tmp_path / "unpacked"

    carried = Bundle.carried(archive.parent)

    assert carried is not None
    with pytest.raises(BundleError, match="is damaged: nothing was deployed"):
        carried.unpack("arm64", target)
    assert not target.exists()


def test_code_for_another_architecture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="was built for arm64, not for x86_64"), built_code("x86_64", built(tmp_path)):
        pytest.fail("it was given")


# --- the template that CloudFormation gets ---


def test_code_is_packaged_and_nothing_else_of_the_template_changes(tmp_path: Path) -> None:
    stored: dict[str, bytes] = {}

    def store(name: str, archive: bytes) -> Mapping[str, str]:
        stored[name] = archive
        return {"Bucket": "code", "Key": name}

    ready = packaged(TEMPLATE, built(tmp_path), store)

    assert ready["Resources"]["Libraries"] == {
        "Type": "AWS::Serverless::LayerVersion",
        "Properties": {"ContentUri": {"Bucket": "code", "Key": "Libraries"}},
    }
    assert ready["Resources"]["Work"]["Properties"] == {
        "CodeUri": {"Bucket": "code", "Key": "Work"},
        "Handler": "handler.handler",
    }
    assert ready["Resources"]["Topic"] == TEMPLATE["Resources"]["Topic"]
    assert ready["Resources"]["Machine"]["Properties"] == {"Definition": DEFINITION, "Type": "STANDARD"}
    with zipfile.ZipFile(io.BytesIO(stored["Libraries"])) as archive:
        modes = {entry.filename: entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
    assert modes == {"bin/tool": 0o755, "python/one.py": 0o644}


def test_an_archive_depends_on_contents_alone(tmp_path: Path) -> None:
    first, second = built(tmp_path / "one"), built(tmp_path / "two")
    os.utime(second / "Work/handler.py", (0, 0))

    assert archived(first / "Work") == archived(second / "Work")


def test_code_can_be_unpacked_for_sam(coffre: Coffre, tmp_path: Path) -> None:
    code = built(tmp_path / "code")

    said = coffre("deploy", "--built", code, "--architecture", "arm64", "--unpack", tmp_path / "copy")
    again = coffre("deploy", "--built", code, "--architecture", "arm64", "--unpack", tmp_path / "copy")

    assert f"sam deploy --template-file {tmp_path / 'copy'}/template.yaml" in said.out.replace("\n", "")
    assert (tmp_path / "copy/Work/handler.py").read_text() == "2"
    assert again.status == 2


# --- completion ---


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_the_command(coffre: Coffre, shell: str) -> None:
    said = coffre("completion", shell)

    assert said.status == 0
    assert f"_COFFRE_COMPLETE=complete_{shell}" in said.out


def test_a_shell_gets_the_subcommands_that_fit() -> None:
    asked = {"_COFFRE_COMPLETE": "complete_bash", "COMP_WORDS": "coffre keys re", "COMP_CWORD": "2"}

    answer = subprocess.run(
        [sys.executable, "-m", "coffre_cli"],
        env={**os.environ, **asked, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.split() == ["recovery-kit"]


@pytest.mark.parametrize("name", ["my_db", "new_1 x", "1st", "", "a" * 49, "-x", "ä"])
@pytest.mark.parametrize("command", [("init", "--dry-run"), ("deploy",)])
def test_what_cannot_name_a_stack_is_refused_before_anything_is_made(
    coffre: Coffre, command: tuple[str, ...], name: str
) -> None:
    said = coffre(*command, f"--stack={name}")

    assert (said.status, said.out) == (2, "")
    assert "cannot name a stack: letters, digits and dashes" in " ".join(said.err.split())


@pytest.mark.parametrize(("region", "code"), [("mars", "REGION_UNKNOWN"), (None, "REGION_MISSING")])
def test_a_region_that_does_not_exist_is_refused_as_that(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch, region: str | None, code: str
) -> None:
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(variable, region) if region else monkeypatch.delenv(variable, raising=False)

    with pytest.raises(DeployError) as refused:
        Account.asked()

    assert refused.value.code == code
    assert "eu-west-1" in (refused.value.hint or "")


@pytest.mark.parametrize("region", ["eu-west-1", "us-gov-west-1", "cn-north-1", "ap-southeast-5"])
def test_regions_of_every_partition_are_accepted(
    aws_environment: None, monkeypatch: pytest.MonkeyPatch, region: str
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    with mock_aws():
        assert Account.asked().region == region
