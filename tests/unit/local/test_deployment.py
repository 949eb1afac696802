"""What is staged for the local AWS belongs to the checkout that deploys, not to the one that made the shared build."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from coffre_local.deployment import Deployment


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
