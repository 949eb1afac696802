"""The configuration of the account's stack: the real function `rotate` writes it, in this process."""

from __future__ import annotations

import io
import json
import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.unit.cli.conftest import BUCKET, REGION, TABLE, Account

from coffre.model.configuration_version import ConfigurationVersion
from coffre.runtime.rotate_function import RotateFunction

GRACE = "arn:aws:iam::123456789012:user/grace"


class Context:
    aws_request_id = "request"
    function_name = "safe-rotate"

    def get_remaining_time_in_millis(self) -> int:
        return 600_000


@dataclass
class Scene:
    """The account, and what happens between a command's dry run and its change."""

    account: Account
    function: RotateFunction
    editors: Path
    meanwhile: Callable[[], object] | None = None
    log: io.StringIO = field(default_factory=io.StringIO)
    events: list[Mapping[str, Any]] = field(default_factory=list)

    def play(self, function: str, event: Mapping[str, Any]) -> object:
        """Do what the function does, errors as Lambda answers them."""
        assert function == "rotate"
        self.events.append(event)
        try:
            return self.function.handle({"actor": self.account.caller, **event}, Context())
        except Exception as error:  # noqa: BLE001 - Lambda answers any
            return {"errorType": type(error).__name__, "errorMessage": str(error)}
        finally:
            if self.meanwhile is not None and event.get("configuration", {}).get("dry_run"):
                act, self.meanwhile = self.meanwhile, None
                act()

    @property
    def template(self) -> dict[str, Any]:
        """The template's document."""
        value = boto3.client("ssm").get_parameter(Name="configuration")["Parameter"]["Value"]
        document: dict[str, Any] = json.loads(value)
        return document

    @property
    def versions(self) -> list[ConfigurationVersion]:
        return list(self.account.catalog.configurations.all())

    def document(self, **fields: Any) -> dict[str, Any]:
        """Return the document in effect with other fields."""
        return {**json.loads(self.function.services.current_configuration().document), **fields}

    def write(self, actor: str = GRACE, **fields: Any) -> None:
        """Put a document in effect, in another person's name."""
        current = self.function.services.current_configuration()
        text = json.dumps(self.document(**fields), indent=2)
        dry = {"configuration": {"document": text, "based_on": current.number, "dry_run": True}, "actor": actor}
        answer = self.function.handle(dry, Context())
        wanted = {"document": text, "based_on": current.number}
        confirmation = {"token": answer["token"], "name": answer["plan"]["name"]}
        done = self.function.handle({"configuration": wanted, "actor": actor, "confirmation": confirmation}, Context())
        assert "version" in done

    def actions(self) -> list[str]:
        return [event.action for event in self.account.catalog.audit.events()]

    def editor(self, script: str) -> str:
        """Return the command of an editor that is a shell script; `$1` is the file."""
        path = self.editors / f"editor {len(list(self.editors.iterdir()))}"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return f"'{path}'"


@pytest.fixture
def scene(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    environment = {
        "COFFRE_CONFIGURATION": "configuration",
        "COFFRE_VAULT_BUCKET": BUCKET,
        "COFFRE_CATALOG_TABLE": TABLE,
        "COFFRE_ALERT_TOPIC_ARN": topic,
    }
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "drafts"))
    monkeypatch.setattr("tempfile.tempdir", None)
    (tmp_path / "drafts").mkdir()
    (tmp_path / "editors").mkdir()
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    scene = Scene(account, RotateFunction.make({**os.environ, **environment}), tmp_path / "editors")
    assert scene.function.services.edge.logger
    for handler in logging.getLogger("rotate").handlers:  # what the function logs is not what the command says
        monkeypatch.setattr(handler, "stream", scene.log)
    account.play = scene.play
    return scene
