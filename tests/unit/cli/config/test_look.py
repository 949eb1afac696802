"""`coffre config show`, `check`, `diff`, `history`: what is in effect, since when, and what changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.config.conftest import GRACE, Scene
from tests.unit.cli.conftest import Coffre

from coffre.model.configuration import parse_configuration


def test_the_document_in_effect_is_printed_as_it_was_written(coffre: Coffre, scene: Scene) -> None:
    said = coffre("config", "show")
    assert json.loads(said.out) == scene.template
    assert "The template's document (configuration): in effect" in said.err
    scene.write(vault_quota_bytes=1)

    said = coffre("config", "show")
    assert said.out == scene.versions[0].document + "\n"
    assert f"Version 1, in effect: written {scene.versions[0].at:%Y-%m-%d %H:%M} UTC by" in said.err
    assert "(as the request claims)" in said.err.replace("\n", " ")


def test_older_versions_the_template_and_json(coffre: Coffre, scene: Scene) -> None:
    scene.write(vault_quota_bytes=1)
    scene.write(vault_quota_bytes=2)

    assert json.loads(coffre("config", "show", "1").out)["vault_quota_bytes"] == 1
    for name in ("template", "0"):
        assert json.loads(coffre("config", "show", name).out) == scene.template
    shown = coffre("config", "show", "1", "--json").json()
    assert (shown["version"], shown["in_effect"], shown["actor"]) == (1, False, GRACE)
    assert shown["document"]["vault_quota_bytes"] == 1
    assert coffre("config", "show", "--json").json()["in_effect"] is True
    assert coffre("config", "show", "3").status == 1


def test_every_field_is_shown_with_its_default(coffre: Coffre, scene: Scene) -> None:
    shown = coffre("config", "show", "--defaults").out

    filled = json.loads(shown)
    assert filled["targets"][0]["retention"]["daily_days"] == 7
    assert filled["alerts"] == {"success_rate_percent": 99.0, "key_rotation_days": 90, "contacts": False}
    assert parse_configuration(shown, where="it") == scene.function.services.configuration()


def test_check_names_each_mistake_and_accepts_what_is_in_effect(coffre: Coffre, scene: Scene, tmp_path: Path) -> None:
    assert "No mistake in the template's document (configuration): 1 target, encryption age." in coffre(
        "config", "check"
    ).out.replace("\n", " ")
    file = tmp_path / "new.json"
    file.write_text('{\n"encryption": "rot13", "targets": []}')
    said = coffre("config", "check", file)
    assert said.status == 1
    assert "line 2, encryption: should be 'age' or 'none'" in said.err
    assert coffre("config", "check", "-", stdin=json.dumps(scene.template)).status == 0


def test_check_live_looks_for_the_secrets_and_reads_none(coffre: Coffre, scene: Scene) -> None:
    said = coffre("config", "check", "--live")
    assert said.status == 1
    assert "The secret coffre/database/shop: does not exist." in said.out
    scene.account.secrets.create_secret(Name="coffre/database/shop", SecretString="postgres://u:hunter2@h/d")

    said = coffre("config", "check", "--live", "--json")
    assert said.json()["secrets"] == {"coffre/database/shop": "exists"}
    assert "hunter2" not in said.out + said.err


def test_check_live_looks_for_the_secrets_of_every_kind(coffre: Coffre, scene: Scene) -> None:
    names = {
        "bucket": "coffre/storage/r2",
        "repository": "coffre/repository/one",
        "organisation": "coffre/repository/all",
        "copy": "coffre/copies/gcs",
    }
    document = scene.document(
        targets=[
            *scene.template["targets"],
            {
                "name": "files",
                "kind": "bucket",
                "store": {"endpoint": "https://r2.example.com", "secret": names["bucket"]},
                "buckets": [{"name": "files"}],
            },
            {
                "name": "code",
                "kind": "repository",
                "repositories": [{"url": "https://git.example.com/a/b.git", "secret": names["repository"]}],
                "organisations": [{"forge": "github", "name": "acme", "secret": names["organisation"]}],
            },
        ],
        copies=[{"name": "offsite", "store": {"type": "gcs", "bucket": "acme-copy", "secret": names["copy"]}}],
    )

    said = coffre("config", "check", "-", "--live", "--json", stdin=json.dumps(document))

    assert said.json()["secrets"] == dict.fromkeys(("coffre/database/shop", *names.values()), "does not exist")


def test_differences_are_shown_in_words_and_lines(coffre: Coffre, scene: Scene, tmp_path: Path) -> None:
    assert coffre("config", "diff").status == 1, "no version was written"
    scene.write(vault_quota_bytes=1)
    scene.write(vault_quota_bytes=2, encryption="none", recipients=[])

    newest = coffre("config", "diff").out
    assert "From version 1 to version 2:" in newest
    assert "  vault_quota_bytes: 1 -> 2" in newest
    assert '! encryption: "age" -> "none"' in newest
    assert '-  "encryption": "age",' in newest
    since = coffre("config", "diff", "template", "2", "--json").json()
    assert [one["path"] for one in since["changes"] if not one["weakens"]] == ["vault_quota_bytes"]
    assert "No difference" in coffre("config", "diff", "2").out
    file = tmp_path / "7.json"
    file.write_text(json.dumps(scene.document(vault_quota_bytes=3)))
    assert "vault_quota_bytes: 2 -> 3" in coffre("config", "diff", file).out
    file.write_text(scene.versions[0].document.replace("\n", "\n  "))
    assert "layout alone" in coffre("config", "diff", file).out
    file.write_text("{")
    said = coffre("config", "diff", file)
    assert said.status == 0
    assert "not valid JSON" in said.err
    assert "@@ -1,11 +1 @@" in said.out


def test_the_history_has_who_when_and_what_newest_first(coffre: Coffre, scene: Scene) -> None:
    assert "No version was written yet" in coffre("config", "history").out
    scene.write(vault_quota_bytes=1)
    scene.write("arn:aws:iam::123456789012:user/ada", vault_quota_bytes=2)

    history = coffre("config", "history", "--json").json()
    assert [(one["number"], one["actor"], one["changes"]) for one in history] == [
        (2, "arn:aws:iam::123456789012:user/ada", ["vault_quota_bytes: 1 -> 2"]),
        (1, GRACE, ["vault_quota_bytes: null -> 1"]),
    ]
    assert "document" not in history[0]
    table = coffre("config", "history").out
    assert table.index("Version 2, in effect") < table.index("1 -> 2") < table.index("null -> 1")


@pytest.mark.parametrize(
    "arguments",
    [["show"], ["edit"], ["set", "x"], ["check"], ["diff"], ["history"], ["restore", "1"]],
    ids=lambda arguments: arguments[0],
)
def test_a_vault_alone_has_no_configuration(
    coffre: Coffre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    said = coffre("--vault", tmp_path, "config", *arguments)

    assert said.status == 2
    assert "needs a stack" in said.err


@pytest.mark.parametrize("arguments", [["show"], ["check"], ["history"]], ids=lambda arguments: arguments[0])
def test_without_a_stack_the_error_names_how_to_get_one(coffre: Coffre, arguments: list[str]) -> None:
    said = coffre("config", *arguments)

    assert said.status == 1
    assert "STACK_UNKNOWN" in said.err
