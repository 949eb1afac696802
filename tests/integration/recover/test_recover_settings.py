"""`coffre recover` and settings: back to AWS as new versions, or into files; a rehearsal writes nothing."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Coffre, client
from tests.integration.settings_scene import CANARY, DOTENV, SettingsScene
from tests.integration.vault_copies import Said, command_in, copy_vault, files_of, write_identity

from coffre.model.errors import DestinationError
from coffre.operations.restore_settings.settings_writer import Parameters


@dataclass
class Recover:
    """`coffre recover` from the copy."""

    run: Callable[..., Said]
    source: tuple[object, ...]

    def __call__(self, *arguments: object) -> Said:
        return self.run("recover", *self.source, *arguments)

    def resume(self) -> Said:
        return self.run("recover", "--resume")


@pytest.fixture
def recover(
    coffre: Coffre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Recover:
    """The command, with a copy of a vault that holds settings: since then one was changed, and one deleted."""
    scene = SettingsScene(coffre)
    scene.configure()
    scene.fill()
    scene.backup({"web/.env": DOTENV})
    client("secretsmanager").put_secret_value(SecretId="app/db", SecretString="other")
    client("ssm").delete_parameter(Name="/app/prod/token")
    copy = copy_vault(coffre, tmp_path / "copy")
    key = write_identity(coffre, tmp_path / "key.txt")
    return Recover(command_in(tmp_path / "here", monkeypatch, capfd), ("--from", copy, "--identity", key))


def value_of(name: str) -> Any:
    return client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]


def journal(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "here" / "coffre-recovery" / "recovery.json").read_text())
    return found


def test_settings_go_back_to_aws_by_names_that_were_shown(recover: Recover, tmp_path: Path) -> None:
    planned = recover("--to", "settings=aws", "--dry-run")
    assert value_of("app/db") == "other"
    done = recover("--to", "settings=aws", "--yes")

    assert planned.status == 0, planned.err
    assert "secrets/app/db: has another value: it gets a new version" in planned.out
    assert "parameters//app/prod/token: does not exist: it is created" in planned.out
    assert "the AWS account 123456789012 in " in planned.out
    # The file that was handed in has no place in AWS
    assert done.status == 4, done.out + done.err
    assert "--name 'files/web/.env' --output FILE" in done.out
    assert "1 setting new, 1 setting with another value, 2 settings as in the backup" in done.out
    assert value_of("app/db") == CANARY
    token = client("ssm").get_parameter(Name="/app/prod/token", WithDecryption=True)
    assert token["Parameter"]["Value"] == CANARY
    [step] = journal(tmp_path)["steps"]
    assert (step["state"], step["settings"]) == ("done", 4)
    written = "".join(path.read_text() for path in (tmp_path / "here" / "coffre-recovery").glob("recovery.*"))
    assert CANARY not in written + planned.out + done.out + done.err


def test_a_further_attempt_leaves_what_the_first_has_put_back(
    recover: Recover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person gives a secret the address of the new database, and continues."""

    def refused(*_: object) -> None:
        raise DestinationError("ssm:PutParameter failed.", code="SETTING_REFUSED")

    with monkeypatch.context() as broken:
        broken.setattr(Parameters, "create", refused)
        first = recover("--to", "settings=aws", "--yes")
    assert (first.status, value_of("app/db")) == (1, CANARY)
    client("secretsmanager").put_secret_value(SecretId="app/db", SecretString="the new address")

    again = recover.resume()

    assert again.status == 4, again.out + again.err
    assert value_of("app/db") == "the new address"
    assert client("ssm").get_parameter(Name="/app/prod/token", WithDecryption=True)["Parameter"]["Value"] == CANARY
    [step] = journal(tmp_path)["steps"]
    assert (step["state"], step["settings"], len(step["kept"])) == ("done", 4, 4)


def test_settings_go_into_files_that_only_their_owner_reads(recover: Recover, tmp_path: Path) -> None:
    done = recover("--to", "settings=directory:back", "--yes")
    # Killed before it noted that: found again, file by file
    document = json.loads(json.dumps(journal(tmp_path)).replace('"done"', '"running"'))
    (tmp_path / "here" / "coffre-recovery" / "recovery.json").write_text(json.dumps(document))
    again = recover.resume()
    used = recover("--to", "settings=directory:back", "--yes", "--work", "other")

    assert (done.status, again.status) == (0, 0), done.out + done.err + again.out
    files = files_of(tmp_path / "here" / "back")
    assert files["secrets/app/db"] == CANARY.encode()
    assert files["files/web/.env"] == DOTENV
    assert any(CANARY.encode() in body for name, body in files.items() if name.endswith("token"))
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "here" / "back").rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert (used.status, "[DESTINATION_NOT_EMPTY]" in used.err) == (1, True)
    assert value_of("app/db") == "other"


def test_a_rehearsal_opens_every_setting_and_writes_none(recover: Recover, tmp_path: Path) -> None:
    alone = recover("--rehearse", "--json")
    compared = recover("--rehearse", "--to", "settings=aws", "--json")

    [opened], [step] = json.loads(alone.out)["steps"], json.loads(compared.out)["steps"]
    assert (alone.status, compared.status) == (0, 0), alone.err + compared.err
    assert opened["settings"] == step["settings"] > 5  # Coffre's own are among them
    assert opened["notes"] == ["They were opened; nothing was written."]
    assert "1 setting new, 1 setting with another value" in step["notes"][0]
    assert value_of("app/db") == "other"
    assert [one.name for one in (tmp_path / "here").iterdir()] == ["coffre-recovery"]


def test_a_place_that_does_not_answer_is_refused_before_anything_begins(
    recover: Recover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = recover("--to", "settings=s3://bucket", "--yes")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    nowhere = recover("--to", "settings=aws", "--yes")

    assert (wrong.status, "[DESTINATION_SHAPE]" in wrong.err) == (1, True)
    assert (nowhere.status, "[SETTINGS_UNREACHABLE]" in nowhere.err) == (1, True), nowhere.err
    assert "directory:/PATH" in nowhere.err
    assert not (tmp_path / "here" / "coffre-recovery" / "recovery.json").exists()
