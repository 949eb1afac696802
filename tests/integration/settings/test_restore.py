"""Settings are compared and restored by the command, from a copy of the vault, with its own AWS credentials."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.conftest import Coffre, client
from tests.integration.settings_scene import CANARY, DOTENV, SettingsScene
from tests.integration.vault_copies import Said, command_in, copy_vault, write_identity

from coffre.model.setting import Setting, SettingFacts
from coffre.operations.restore_settings.settings_writer import Parameters, Secrets
from coffre_cli.commands.restore import settings as restore_command


@dataclass
class Restoring:
    """A backup of settings in a copy of the vault, and the command that restores from it."""

    scene: SettingsScene
    run: Callable[..., Said]
    vault: Path
    key: Path

    def __call__(self, *arguments: object) -> Said:
        copy_vault(self.scene.coffre, self.vault)
        return self.run("--vault", self.vault, "--identity", self.key, *arguments)

    def settings(self, *arguments: object) -> Said:
        """Run `coffre restore settings latest`."""
        return self("restore", "settings", "latest", "--target", "settings", *arguments)


@pytest.fixture
def restoring(
    coffre: Coffre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Restoring:
    scene = SettingsScene(coffre)
    scene.configure(coffre=False)
    scene.fill()
    scene.backup({"web/.env": DOTENV})
    run = command_in(tmp_path / "here", monkeypatch, capfd)
    return Restoring(scene, run, tmp_path / "vault", write_identity(coffre, tmp_path / "key.txt"))


def steps(said: Said) -> dict[str, str]:
    return {one["name"]: one["step"] for one in json.loads(said.out)}


def value_of(name: str) -> Any:
    return client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]


def test_what_a_restore_would_do_is_named_and_nothing_is_written(restoring: Restoring) -> None:
    secrets, ssm = client("secretsmanager"), client("ssm")
    secrets.put_secret_value(SecretId="app/db", SecretString="other")
    ssm.delete_parameter(Name="/app/prod/token")

    said = restoring.settings("--dry-run", "--json")

    assert (said.status, steps(said)) == (
        0,
        {
            "files/web/.env": "only_a_file",
            "parameters//app/prod/list": "same",
            "parameters//app/prod/token": "create",
            "secrets/app/db": "change",
            "secrets/app/key": "same",
        },
    )
    assert CANARY not in said.out + said.err
    assert value_of("app/db") == "other"
    assert "/app/prod/token" not in {one["Name"] for one in ssm.describe_parameters()["Parameters"]}
    words = restoring.settings("--dry-run")
    assert "secrets/app/db: has another value: it gets a new version" in words.out
    assert "2 settings would be written." in words.err
    assert "Their places are in the AWS account 123456789012 in " in words.err
    assert CANARY not in words.out + words.err


def test_what_is_missing_or_different_is_written_with_all_that_belongs_to_it(restoring: Restoring) -> None:
    secrets, ssm = client("secretsmanager"), client("ssm")
    secrets.put_secret_value(SecretId="app/key", SecretString="other")
    secrets.delete_secret(SecretId="app/db", ForceDeleteWithoutRecovery=True)
    ssm.delete_parameter(Name="/app/prod/token")
    secrets.put_secret_value(SecretId="other/db", SecretString="not of the target")

    said = restoring.settings("--yes")

    assert said.status == 0, said.err
    assert "secrets/app/db: created" in said.out
    assert "secrets/app/key: new version written" in said.out
    assert CANARY not in said.out + said.err
    made = secrets.describe_secret(SecretId="app/db")
    assert (value_of("app/db"), made["Description"], made["Tags"]) == (
        CANARY,
        f"of {CANARY}",
        [{"Key": "team", "Value": CANARY}],
    )
    assert secrets.get_secret_value(SecretId="app/key")["SecretBinary"] == b"\x00\xff" + CANARY.encode()
    assert secrets.get_secret_value(SecretId="app/key", VersionStage="AWSPREVIOUS")["SecretString"] == "other"
    token = ssm.get_parameter(Name="/app/prod/token", WithDecryption=True)["Parameter"]
    assert (token["Value"], token["Type"]) == (CANARY, "SecureString")
    assert value_of("other/db") == "not of the target"
    assert steps(restoring.settings("--yes", "--json", "--name", "secrets/**")) == {
        "secrets/app/db": "same",
        "secrets/app/key": "same",
    }


def test_only_the_chosen_names_are_written(restoring: Restoring) -> None:
    client("secretsmanager").put_secret_value(SecretId="app/db", SecretString="other")
    client("ssm").put_parameter(Name="/app/prod/list", Value="x", Type="StringList", Overwrite=True)

    assert restoring.settings("--yes", "--name", "app/db").status == 0

    assert value_of("app/db") == CANARY
    assert client("ssm").get_parameter(Name="/app/prod/list")["Parameter"]["Value"] == "x"


def test_without_a_person_nothing_is_overwritten(restoring: Restoring) -> None:
    client("secretsmanager").put_secret_value(SecretId="app/db", SecretString="other")

    said = restoring.settings()

    assert said.status == 2
    assert "add --yes" in said.err
    assert value_of("app/db") == "other"


def test_another_name_than_the_targets_changes_nothing(restoring: Restoring, monkeypatch: pytest.MonkeyPatch) -> None:
    client("secretsmanager").put_secret_value(SecretId="app/db", SecretString="other")
    monkeypatch.setattr(restore_command, "refuse_without_terminal", lambda what: None)
    monkeypatch.setattr("typer.prompt", lambda *_, **__: "shop")

    said = restoring.settings()

    assert said.status == 1
    assert "NAME_DIFFERS" in said.err
    assert value_of("app/db") == "other"


def test_a_file_is_written_for_its_owner_alone_and_never_over_another(restoring: Restoring, tmp_path: Path) -> None:
    file = tmp_path / "restored.env"

    said = restoring.settings("--name", "web/.env", "--output", file)
    assert (said.status, file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (0, DOTENV, 0o600)
    assert CANARY not in said.out + said.err

    file.write_text("mine")
    file.chmod(0o644)
    assert restoring.settings("--name", "web/.env", "--output", file).status == 1
    assert file.read_text() == "mine"
    assert restoring.settings("--name", "web/.env", "--output", file, "--overwrite").status == 0
    assert (file.read_bytes(), stat.S_IMODE(file.stat().st_mode)) == (DOTENV, 0o600)
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith((".part", ".new"))] == []


def test_one_value_is_printed_exactly(restoring: Restoring) -> None:
    assert restoring.settings("--name", "app/db", "--print").out == CANARY
    several = restoring.settings("--name", "secrets/*/*", "--print")
    assert (several.status, several.out) == (2, "")


def test_what_does_not_fit_is_refused(restoring: Restoring) -> None:
    for arguments in (
        ("--output", "x", "--print"),
        ("--overwrite",),
        ("--print", "--dry-run"),
        ("--name", "nothing/**"),
    ):
        said = restoring.settings(*arguments)
        assert said.status in (1, 2), arguments
        assert said.out == "", arguments


def test_other_commands_show_names_and_no_values(restoring: Restoring) -> None:
    listed = restoring("ls", "latest", "--target", "settings", "--recursive")
    assert "app/prod/token" in listed.out
    shown = restoring("show", "latest", "--target", "settings")
    assert "parameters" in shown.out
    for command in (("cat", "latest", "app/db", "--bucket", "secrets"), ("export", "latest")):
        refused = restoring(*command, "--target", "settings")
        assert (refused.status, refused.out) == (2, "")
        assert "coffre restore settings" in refused.err
    assert restoring("restore", "objects", "latest", "--target", "settings", "--dry-run").status != 0
    assert CANARY not in listed.out + shown.out


def test_a_diff_names_what_changed_without_any_value(restoring: Restoring) -> None:
    first = restoring.scene.coffre.backups()[0].id
    client("secretsmanager").put_secret_value(SecretId="app/db", SecretString=f"{CANARY}-2")
    client("secretsmanager").create_secret(Name="app/new", SecretString=CANARY)
    client("ssm").delete_parameter(Name="/app/prod/list")
    changed = DOTENV.replace(CANARY.encode(), b"changed") + b"NEW=1\n"
    restoring.scene.backup({"web/.env": changed})
    second = restoring.scene.coffre.backups()[0].id

    by_version = restoring.run("--vault", copy_vault(restoring.scene.coffre, restoring.vault), "diff", first, second)
    by_value = restoring("diff", first, second, "--identity", restoring.key)

    assert by_version.out.splitlines() == [
        "~ files/web/.env  (value)",
        "- parameters//app/prod/list",
        "~ secrets/app/db  (value)",
        "+ secrets/app/new",
    ]
    assert by_value.out.splitlines() == [
        "~ files/web/.env  (~DB_URL, +NEW)",
        "- parameters//app/prod/list",
        "~ secrets/app/db  (value)",
        "+ secrets/app/new",
    ]
    assert CANARY not in by_value.out + by_value.err + by_version.out + by_version.err


def test_a_file_that_was_handed_in_again_is_the_same_by_its_value(restoring: Restoring) -> None:
    first = restoring.scene.coffre.backups()[0].id
    second = restoring.scene.backup({"web/.env": DOTENV}).id

    said = restoring("diff", first, second, "--identity", restoring.key)

    assert (said.status, said.out) == (0, "")


def test_what_aws_repeats_of_a_value_is_not_shown() -> None:
    @dataclass
    class Refusing:
        def put_parameter(self, **wanted: Any) -> None:
            message = f"Value '{wanted['Value']}' at 'value' failed to satisfy constraint"
            raise ClientError({"Error": {"Code": "ValidationException", "Message": message}}, "PutParameter")

        def put_secret_value(self, **wanted: Any) -> None:
            message = f"{wanted['SecretString']} is not a value"
            raise ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": message}}, "PutSecretValue")

    refusing: Any = Refusing()
    for place, facts in ((Parameters(refusing), "String"), (Secrets(refusing), "text")):
        with pytest.raises(Exception, match="failed for name") as caught:
            place.change("name", Setting(value=CANARY.encode(), facts=SettingFacts(type=facts)))
        error: Any = caught.value
        assert CANARY not in f"{error} {error.detail} {error.hint} {error.__cause__}"
        assert error.__suppress_context__


def test_the_script_of_the_recovery_kit_restores_settings(restoring: Restoring, tmp_path: Path) -> None:
    script = Path(restore_command.__file__).parents[1] / "keys" / "kit" / "restore.py"
    vault = copy_vault(restoring.scene.coffre, restoring.vault)
    command = [sys.executable, str(script), str(vault), "settings", "--identity", str(restoring.key)]

    done = subprocess.run([*command, "--directory", str(tmp_path / "out")], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    index = [json.loads(line) for line in (tmp_path / "out" / "index.jsonl").read_text().splitlines()]
    restored = {one["name"]: (tmp_path / "out" / one["file"]).read_bytes() for one in index}
    assert restored == restoring.scene.values(restoring.scene.coffre.backups()[0])
