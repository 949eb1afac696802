"""What is staged for the local AWS belongs to the checkout that deploys, not to the one that made the shared build."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from coffre_local.deployment import Deployment, with_definitions


def test_a_machine_is_deployed_from_the_own_checkout_by_a_build_that_another_one_made(tmp_path: Path) -> None:
    # Given a shared build, made by a checkout that is gone: `sam build` copies no definition
    built, checkout, staging = tmp_path / "built", tmp_path / "checkout", tmp_path / "staging"
    properties = {"DefinitionUri": "../../gone/statemachine/spread.asl.json"}
    machine = {"Type": "AWS::Serverless::StateMachine", "Properties": properties}
    packages = tmp_path / "tools" / "lib" / "python3.13" / "site-packages"
    for directory in (built, checkout / "statemachine", staging, packages):
        directory.mkdir(parents=True)
    (built / "template.yaml").write_text(json.dumps({"Resources": {"Machine": machine}}))
    (checkout / "statemachine" / "spread.asl.json").write_text("{}")
    toolchain = cast(Any, SimpleNamespace(ministack=lambda: tmp_path / "tools"))

    staged = Deployment(staging, checkout=checkout, toolchain=toolchain).stage(built, {})

    found = json.loads(staged.read_text())["Resources"]["Machine"]["Properties"]["DefinitionUri"]
    assert found == str(checkout / "statemachine" / "spread.asl.json")
    assert Path(found).is_file()


def test_a_build_has_the_definitions_of_its_machines_and_is_not_changed_by_those_who_use_it(tmp_path: Path) -> None:
    built, source = tmp_path / "built", tmp_path / "checkout" / "spread.asl.json"
    for directory in (built, source.parent):
        directory.mkdir()
    source.write_text("{}")
    template = built / "template.yaml"
    template.write_text("    Properties:\n      DefinitionUri: ../checkout/spread.asl.json\n")
    with_definitions(built)
    made = template.stat().st_mtime_ns
    source.unlink()

    with_definitions(built)

    assert template.read_text() == "    Properties:\n      DefinitionUri: spread.asl.json\n"
    assert (built / "spread.asl.json").read_text() == "{}"
    assert template.stat().st_mtime_ns == made
