"""`coffre config set` and `restore`: checked, planned, confirmed, written once, audited; or one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.unit.cli.config.conftest import GRACE, Context, Scene
from tests.unit.cli.conftest import Coffre, Said

from coffre.catalog.tables import DynamoTable
from coffre.model.audit import Actor
from coffre.model.errors import CatalogError

ADA = "arn:aws:iam::123456789012:user/ada"


def write(path: Path, document: Any) -> Path:
    path.write_text(document if isinstance(document, str) else json.dumps(document, indent=2))
    return path


def refused(scene: Scene, said: Said, code: str) -> str:
    """Return what a command said that changed nothing."""
    assert said.status in (1, 2)
    assert code in said.err
    assert scene.versions == []
    assert "configuration.changed" not in [
        event.action for event in scene.account.catalog.audit.events() if event.result == "done" and event.subject
    ]
    return said.err


@pytest.fixture
def file(scene: Scene, tmp_path: Path) -> Path:
    return write(tmp_path / "new.json", scene.document(vault_quota_bytes=5_000_000_000))


def test_a_document_from_a_file_is_in_effect_for_the_functions_and_in_the_audit(
    coffre: Coffre, scene: Scene, file: Path
) -> None:
    said = coffre("config", "set", file, "--yes", "--note", "a quota")

    assert said.status == 0, said.err
    assert "Version 1 of the configuration is in effect" in said.out
    [version] = scene.versions
    assert (version.number, version.note, version.actor) == (1, "a quota", scene.account.caller)
    assert version.document == file.read_text()
    assert version.changes == ("vault_quota_bytes: null -> 5000000000",)
    assert scene.function.services.configuration().vault_quota_bytes == 5_000_000_000
    [event] = [
        one
        for one in scene.account.catalog.audit.events()
        if one.subject == "version 1" and one.action == "configuration.changed"
    ]
    assert event.actor == scene.account.caller
    assert "vault_quota_bytes: null -> 5000000000" in (event.detail or "")
    assert version.sha256 in (event.detail or "")
    assert {"configuration.planned", "configuration.confirmed"} <= set(scene.actions())


def test_a_document_from_stdin_and_json_for_scripts(coffre: Coffre, scene: Scene) -> None:
    text = json.dumps(scene.document(vault_quota_bytes=7))
    said = coffre("config", "set", "-", "--yes", "--json", stdin=text)

    assert said.json()["number"] == 1
    assert said.json()["changes"] == ["vault_quota_bytes: null -> 7"]
    assert scene.versions[0].document == text


def test_a_dry_run_shows_what_changes_and_changes_nothing(coffre: Coffre, scene: Scene, tmp_path: Path) -> None:
    shop = {**scene.template["targets"][0], "retention": {"daily_days": 3}}
    file = write(tmp_path / "new.json", scene.document(targets=[shop], vault_quota_bytes=7))
    said = coffre("config", "set", file, "--dry-run")

    assert said.status == 0
    assert "! targets.shop.retention.daily_days: 7 -> 3" in said.out
    assert "  vault_quota_bytes: null -> 7" in said.out
    assert "Nothing was changed." in said.out
    assert scene.versions == []
    plan = coffre("config", "set", file, "--dry-run", "--json").json()
    assert plan["overwrites"]["weakens"] == ["targets.shop.retention.daily_days: 7 -> 3"]
    assert "token" not in plan


def test_without_a_terminal_and_without_yes_nothing_is_asked_and_nothing_changes(
    coffre: Coffre, scene: Scene, file: Path
) -> None:
    assert "add --yes, or --dry-run" in refused(scene, coffre("config", "set", file), "")
    assert scene.events == []


@pytest.mark.parametrize("weakens", [False, True])
def test_a_person_says_yes_and_types_a_word_where_the_protection_gets_weaker(
    coffre: Coffre, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weakens: bool
) -> None:
    monkeypatch.setattr("coffre_cli.confirming.is_interactive", lambda: True)
    fields: dict[str, Any] = {"encryption": "none", "recipients": []} if weakens else {"vault_quota_bytes": 7}
    file = write(tmp_path / "new.json", scene.document(**fields))

    said = coffre("config", "set", file, stdin="no\n")
    assert said.status != 0
    assert scene.versions == []
    said = coffre("config", "set", file, stdin="y\n")
    assert len(scene.versions) == (0 if weakens else 1)
    assert ("NAME_DIFFERS" in said.err) is weakens
    if weakens:
        assert coffre("config", "set", file, stdin="configuration\n").status == 0
        assert len(scene.versions) == 1


def test_the_document_in_effect_is_not_written_a_second_time(coffre: Coffre, scene: Scene, file: Path) -> None:
    coffre("config", "set", file, "--yes")

    said = coffre("config", "set", file, "--yes")
    assert (said.status, len(scene.versions)) == (0, 1)
    assert "Nothing to change" in said.out
    assert coffre("config", "set", file, "--yes", "--json").json() == {"number": 1, "changed": False}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\xff", "not text in UTF-8"),
        (b"{", "not valid JSON"),
        (b"[" * 200_000, "too deeply nested"),
        (b'{"encryption": "none", "encryption": "none"}', "encryption: given twice"),
        (b" " * 351_000, "351,000 bytes"),
        (b'{"encryption": "none", "tragets": []}', "did you mean targets?"),
        (b'{"encryption": 5, "targets": "shop"}', "2 mistakes"),
    ],
)
def test_a_document_with_mistakes_is_refused_by_the_command_and_by_the_function(
    coffre: Coffre, scene: Scene, tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "new.json"
    file.write_bytes(content)

    assert said in refused(scene, coffre("config", "set", file, "--yes"), "CONFIGURATION_INVALID")
    assert scene.events == [], "the command looks first"
    if said != "not text in UTF-8":  # no event can hold it
        event = {"configuration": {"document": content.decode(), "based_on": 0, "dry_run": True}}
        answer = scene.play("rotate", event)
        assert isinstance(answer, dict)
        assert answer["failure"]["code"] == "CONFIGURATION_INVALID"
        assert scene.versions == []


def test_a_file_that_is_missing_is_one_clear_error(coffre: Coffre, scene: Scene, tmp_path: Path) -> None:
    assert "cannot be read" in refused(
        scene, coffre("config", "set", tmp_path / "no", "--yes"), "CONFIGURATION_MISSING"
    )
    refused(scene, coffre("config", "set", tmp_path, "--yes"), "CONFIGURATION_MISSING")


def test_a_note_that_is_too_long_is_wrong_usage(coffre: Coffre, scene: Scene, file: Path) -> None:
    said = coffre("config", "set", file, "--yes", "--note", "n" * 257)

    assert said.status == 2
    assert scene.versions == []


def test_of_two_writers_at_the_same_time_one_gets_a_clear_error(coffre: Coffre, scene: Scene, file: Path) -> None:
    scene.meanwhile = lambda: scene.write(vault_quota_bytes=99)
    said = coffre("config", "set", file, "--yes")

    assert said.status == 1
    assert "CONFIGURATION_CHANGED" in said.err
    assert GRACE in said.err
    assert "coffre config diff 0" in said.err
    assert [one.actor for one in scene.versions] == [GRACE]


def test_two_writes_in_the_same_moment_have_one_winner(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have read the same version, and both are confirmed: the condition of the write decides."""
    before = scene.function.services.current_configuration()
    scene.write(vault_quota_bytes=1)
    text = json.dumps(scene.document(vault_quota_bytes=2))
    with monkeypatch.context() as patch:
        patch.setattr(type(scene.function.services), "current_configuration", lambda _: before)
        answer = scene.play("rotate", {"configuration": {"document": text, "based_on": 0, "dry_run": True}})
        assert isinstance(answer, dict)
        confirmation = {"token": answer["token"], "name": "configuration"}
        event = {"configuration": {"document": text, "based_on": 0}, "confirmation": confirmation}
        lost = scene.play("rotate", event)

    assert isinstance(lost, dict)
    assert lost["failure"]["code"] == "CONFIGURATION_CHANGED"
    assert [one.actor for one in scene.versions] == [GRACE]
    failed = [one for one in scene.account.catalog.audit.events() if one.result == "failed"]
    assert [one.action for one in failed] == ["configuration.changed"]


def test_a_permission_that_was_revoked_is_an_error_and_nothing_is_written(
    coffre: Coffre, scene: Scene, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = DynamoTable.put

    def denied(table: DynamoTable, item: Any, condition: Any = None) -> None:
        if item.pk == "CONFIG":
            code = "AccessDeniedException"
            raise table._error("PutItem", "PutItem", ClientError({"Error": {"Code": code}}, "PutItem"))
        put(table, item, condition)

    monkeypatch.setattr(DynamoTable, "put", denied)
    said = coffre("config", "set", file, "--yes")

    assert said.status == 1
    assert "AccessDeniedException" in said.err
    assert scene.versions == []
    assert scene.function.services.configuration().vault_quota_bytes is None


def test_what_cannot_be_audited_is_not_done(
    coffre: Coffre, scene: Scene, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object, **__: object) -> None:
        raise CatalogError("The table did not answer.")

    monkeypatch.setattr(DynamoTable, "insert_and_update", silent)
    said = coffre("config", "set", file, "--yes")

    assert said.status == 1
    assert scene.versions == []


# --- restore, and the template ---


def test_an_older_version_becomes_the_next_one(coffre: Coffre, scene: Scene) -> None:
    scene.write(vault_quota_bytes=1)
    scene.write(vault_quota_bytes=2)
    said = coffre("config", "restore", "1", "--yes")

    assert said.status == 0
    newest = scene.versions[0]
    assert (newest.number, newest.note, newest.changes) == (3, "restores version 1", ("vault_quota_bytes: 2 -> 1",))
    assert newest.document == scene.versions[-1].document
    assert scene.function.services.configuration().vault_quota_bytes == 1


@pytest.mark.parametrize("version", ["7", "x", "-1", "1.5", "99999999999999999999"])
def test_a_version_that_does_not_exist_is_named_with_those_that_do(coffre: Coffre, scene: Scene, version: str) -> None:
    scene.write(vault_quota_bytes=1)
    said = coffre("config", "restore", "--yes", "--", version)

    assert said.status == 1
    assert "CONFIGURATION_UNKNOWN" in said.err
    assert "Versions 1 to 1 exist" in said.err
    assert len(scene.versions) == 1


def test_a_deployment_never_undoes_an_edit_and_is_not_hidden_either(coffre: Coffre, scene: Scene) -> None:
    scene.write(vault_quota_bytes=1)
    quiet = coffre("config", "show")
    assert "not in effect" not in quiet.err
    # When the template's parameters change
    scene.account.configure("shop", "other")

    # Then the edit stays in effect, and every command and the log name the way to the template's document
    assert [one.name for one in scene.function.services.configuration().targets] == ["shop"]
    assert "coffre config diff template" in scene.log.getvalue()
    for command in (["show"], ["check"], ["diff"], ["history"]):
        assert "coffre config restore template" in coffre("config", *command).err.replace("\n", " ")
    assert "targets.other: new" in coffre("config", "diff", "template").out
    assert coffre("config", "show", "--json").json()["template_has_changed"] is True
    changed = [one for one in scene.account.catalog.audit.events() if one.action == "configuration.template_changed"]
    assert len(changed) == 1

    # And it can be put in effect, which ends the notice
    assert coffre("config", "restore", "template", "--yes").status == 0
    assert [one.name for one in scene.function.services.configuration().targets] == ["shop", "other"]
    assert "restore template" not in coffre("config", "show").err


def test_the_newest_version_counts_also_when_the_template_has_none(coffre: Coffre, scene: Scene) -> None:
    scene.write(vault_quota_bytes=1)
    boto3.client("ssm").delete_parameter(Name="configuration")

    assert scene.function.services.configuration().vault_quota_bytes == 1
    said = coffre("config", "restore", "template", "--yes")
    assert said.status == 1
    assert "could not be read" in said.err


def test_a_document_that_the_functions_refuse_can_be_replaced(coffre: Coffre, scene: Scene, file: Path) -> None:
    boto3.client("ssm").put_parameter(Name="configuration", Value="{broken", Type="String", Overwrite=True)

    assert coffre("config", "show").out == "{broken\n"
    assert coffre("config", "check").status == 1
    said = coffre("config", "set", file, "--yes")
    assert said.status == 0, said.err
    assert scene.function.services.configuration().vault_quota_bytes == 5_000_000_000


# --- events without the command ---


def test_an_event_without_a_confirmation_changes_nothing(scene: Scene) -> None:
    event = {"configuration": {"document": json.dumps(scene.document(vault_quota_bytes=1)), "based_on": 0}}
    answer = scene.play("rotate", event)

    assert isinstance(answer, dict)
    assert "CONFIRMATION_NEEDED" in answer["errorMessage"]
    assert scene.versions == []


def test_a_token_confirms_one_document_once_and_for_its_maker(scene: Scene) -> None:
    wanted = {"document": json.dumps(scene.document(vault_quota_bytes=1)), "based_on": 0}
    answer = scene.play("rotate", {"configuration": {**wanted, "dry_run": True}})
    assert isinstance(answer, dict)
    confirmation = {"token": answer["token"], "name": "configuration"}
    other = {**wanted, "document": json.dumps(scene.document(encryption="none", recipients=[]))}

    for event in (
        {"configuration": other, "confirmation": confirmation},
        {"configuration": {**wanted, "note": "another"}, "confirmation": confirmation},
        {"configuration": wanted, "confirmation": {**confirmation, "name": "shop"}},
        {"configuration": wanted, "confirmation": confirmation, "actor": GRACE},
    ):
        refusal = scene.play("rotate", event)
        assert isinstance(refusal, dict)
        assert "CONFIRMATION_MISMATCH" in refusal["errorMessage"]
    assert scene.versions == []
    scene.play("rotate", {"configuration": wanted, "confirmation": confirmation})
    assert len(scene.versions) == 1
    again = scene.play("rotate", {"configuration": {**wanted, "based_on": 1}, "confirmation": confirmation})
    assert isinstance(again, dict)
    assert again["failure"]["code"] == "CONFIGURATION_UNCHANGED"
    assert len(scene.versions) == 1


def test_a_rule_that_demands_a_second_person_is_not_switched_off_by_one(
    coffre: Coffre, scene: Scene, tmp_path: Path
) -> None:
    scene.write(confirmation={"approvals": 1})
    file = write(tmp_path / "new.json", scene.document(confirmation={"approvals": 0}))
    said = coffre("config", "set", file, "--yes")

    assert said.status == 1
    assert "ACTOR_UNVERIFIED" in said.err
    assert len(scene.versions) == 1
    # What weakens nothing needs none.
    harmless = write(tmp_path / "quota.json", scene.document(vault_quota_bytes=7))
    assert coffre("config", "set", harmless, "--yes").status == 0


# --- the vault's copy ---


def test_the_vault_has_a_copy_of_each_version_from_which_a_new_stack_is_configured(
    coffre: Coffre, scene: Scene
) -> None:
    scene.write(vault_quota_bytes=1)
    lost = scene.versions[0].document
    # When the table is lost, and another stack has the vault
    for key in [{"pk": {"S": "CONFIG"}, "sk": {"S": "0000000001"}}]:
        boto3.client("dynamodb").delete_item(TableName="catalog", Key=key)

    # Then a rebuild names the copy and puts nothing in effect
    rebuilt = coffre("catalog", "rebuild", "--yes")
    assert "coffre config restore vault" in rebuilt.out
    assert scene.versions == []
    assert "vault_quota_bytes: null -> 1" in coffre("config", "diff", "vault").out
    assert coffre("config", "restore", "vault", "--yes").status == 0
    assert scene.versions[0].document == lost
    assert "restores the vault's copy of" in (scene.versions[0].note or "")
    assert "config restore vault" not in coffre("catalog", "rebuild", "--yes").out


def test_a_rotation_keeps_a_copy_of_the_template_s_document(coffre: Coffre, scene: Scene) -> None:
    assert "has no copy" in coffre("config", "show", "vault").err
    scene.function.handle({"dry_run": True}, Context())
    assert "has no copy" in coffre("config", "show", "vault").err, "a dry run writes nothing"
    scene.function.handle({}, Context())

    assert json.loads(coffre("config", "show", "vault").out) == scene.template


def test_a_vault_that_takes_no_copy_stops_no_change(coffre: Coffre, scene: Scene, file: Path) -> None:
    boto3.client("s3").delete_bucket(Bucket="vault")
    said = coffre("config", "set", file, "--yes")

    assert said.status == 0
    assert len(scene.versions) == 1
    assert "run failed" in scene.log.getvalue(), "the log has it, and the next rotation repeats it"


# --- a second person ---


def test_a_second_person_sees_what_may_weaken_the_protection_and_approves_it(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.write(confirmation={"approvals": 1})
    monkeypatch.setattr(type(scene.function.services), "actor", lambda _, event: Actor(str(event.actor), verified=True))
    wanted = {
        "document": json.dumps(scene.document(encryption="none", recipients=[])),
        "based_on": 1,
        "note": "why not",
    }
    answer = scene.play("rotate", {"configuration": {**wanted, "dry_run": True}})
    assert isinstance(answer, dict)
    plan, confirmation = answer["plan"], {"token": answer["token"], "name": "configuration"}
    assert plan["approvals"] == 1
    event = {"configuration": wanted, "confirmation": confirmation}

    # When only the first person wants it
    for approver in (None, scene.account.caller):
        if approver is not None:
            own = scene.play("rotate", {"approve": {"plan": plan["id"], "sha256": plan["sha256"]}})
            assert "APPROVAL_REFUSED" in str(own)
        assert "APPROVAL_NEEDED" in str(scene.play("rotate", event))
    assert len(scene.versions) == 1

    # Then the second one is shown all of it, and the version is written
    scene.account.caller = GRACE
    monkeypatch.setattr("coffre_cli.commands.backups.approve.is_interactive", lambda: True)
    said = coffre("approve", plan["id"][:12], stdin="y\n")
    assert said.status == 0, said.err
    assert "wants to change the configuration" in said.err
    assert "why not" in said.err
    assert '! encryption: "age" -> "none"' in said.out
    scene.account.caller = ADA
    done = scene.play("rotate", event)
    assert isinstance(done, dict)
    assert "version" in done
    assert scene.function.services.configuration().encryption == "none"
