"""`coffre config edit`: a draft in the person's own editor is never lost, and never half in effect."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from tests.unit.cli.config.conftest import GRACE, Scene
from tests.unit.cli.conftest import Coffre, Said

ADD_QUOTA = """sed -i '0,/{/s//{ "vault_quota_bytes": 7,/' "$1" """


def kept_draft(said: Said) -> Path:
    found = re.search(r"coffre config set '?([^\s']+)", said.out)
    assert found, said
    draft = Path(found[1])
    assert stat.S_IMODE(draft.stat().st_mode) == 0o600
    assert stat.S_IMODE(draft.parent.stat().st_mode) == 0o700
    return draft


def drafts(scene: Scene) -> list[Path]:
    return list((scene.editors.parent / "drafts").rglob("*"))


@pytest.mark.parametrize("variable", ["VISUAL", "EDITOR"])
def test_what_the_editor_saved_is_in_effect_and_no_draft_stays(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, scene.editor(ADD_QUOTA))
    said = coffre("config", "edit", "--yes", "--note", "a quota")

    assert said.status == 0, said.err
    assert "vault_quota_bytes: null -> 7" in said.out
    [version] = scene.versions
    assert (version.note, version.changes) == ("a quota", ("vault_quota_bytes: null -> 7",))
    assert "\n" in version.document, "the template's one line was laid out for the editor"
    assert drafts(scene) == []


def test_visual_comes_before_editor_and_options_are_passed_on(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISUAL", scene.editor('test "$1" = --wait && shift && ' + ADD_QUOTA) + " --wait")
    monkeypatch.setenv("EDITOR", "false")

    assert coffre("config", "edit", "--yes").status == 0
    assert len(scene.versions) == 1


def test_a_document_that_was_not_changed_is_not_written(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", "true")
    said = coffre("config", "edit", "--yes")

    assert said.status == 0
    assert "Nothing was changed in the editor" in said.out
    assert (scene.versions, scene.events, drafts(scene)) == ([], [], [])


@pytest.mark.parametrize(
    ("editor", "code", "words"),
    [
        ("/nowhere/vi", "EDITOR_MISSING", "could not be started"),
        ("/", "EDITOR_MISSING", "could not be started"),
        ("'unbalanced", "EDITOR_MISSING", "could not be started"),
        ("false", "EDITOR_FAILED", "ended with status 1"),
        ("rm", "EDITOR_FAILED", "left no file"),
    ],
)
def test_an_editor_that_is_missing_or_fails_changes_nothing(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch, editor: str, code: str, words: str
) -> None:
    monkeypatch.setenv("EDITOR", editor)
    said = coffre("config", "edit", "--yes")

    assert said.status == 1
    assert code in said.err
    assert words in said.err
    assert (scene.versions, scene.events, drafts(scene)) == ([], [], [])


def test_a_draft_is_kept_when_the_editor_fails_after_saving(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", scene.editor(ADD_QUOTA + "\nexit 3"))
    said = coffre("config", "edit", "--yes")

    assert "ended with status 3" in said.err
    assert "vault_quota_bytes" in kept_draft(said).read_text()
    assert scene.versions == []


def test_a_draft_with_a_mistake_is_kept_and_can_be_put_in_effect_later(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", scene.editor("""sed -i 's/"age"/"aeg"/' "$1" """))
    said = coffre("config", "edit", "--yes")

    assert said.status == 1
    assert "line 2, encryption: should be 'age' or 'none'" in said.err
    assert scene.versions == []
    draft = kept_draft(said)
    draft.write_text(draft.read_text().replace('"aeg"', '"age", "vault_quota_bytes": 7'))
    assert coffre("config", "set", draft, "--yes").status == 0
    assert len(scene.versions) == 1


def test_a_person_may_edit_a_draft_with_a_mistake_again(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("coffre_cli.confirming.is_interactive", "coffre_cli.commands.config.edit.is_interactive"):
        monkeypatch.setattr(name, lambda: True)
    mend, spoil = (f'sed -i \'s/"{old}"/"{new}"/\' "$1"' for old, new in (("aeg", "age"), ("age", "aeg")))
    script = f'if grep -q aeg "$1"; then {mend}; {ADD_QUOTA}; else {spoil}; fi'
    monkeypatch.setenv("EDITOR", scene.editor(script))
    said = coffre("config", "edit", stdin="\ny\n")

    assert said.status == 0, said.err
    assert "CONFIGURATION_INVALID" in said.err
    assert [one.changes for one in scene.versions] == [("vault_quota_bytes: null -> 7",)]
    assert drafts(scene) == []


def test_who_says_no_keeps_the_draft(coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coffre_cli.confirming.is_interactive", lambda: True)
    monkeypatch.setenv("EDITOR", scene.editor(ADD_QUOTA))
    said = coffre("config", "edit", stdin="n\n")

    assert said.status == 1
    assert kept_draft(said).exists()
    assert scene.versions == []


def test_of_two_editors_the_second_sees_what_the_first_one_changed_and_keeps_the_draft(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", scene.editor(ADD_QUOTA))
    scene.meanwhile = lambda: scene.write(alerts={"key_rotation_days": 30})
    said = coffre("config", "edit", "--yes")

    assert said.status == 1
    assert "CONFIGURATION_CHANGED" in said.err
    assert "alerts.key_rotation_days: 90 -> 30" in said.out
    assert f"version 1 of {GRACE}" in said.out
    assert "vault_quota_bytes" in kept_draft(said).read_text()
    assert [one.actor for one in scene.versions] == [GRACE]


def test_a_document_with_hostile_text_does_not_steer_the_terminal(
    coffre: Coffre, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", scene.editor("""printf '{"\\033[2J": 1}' > "$1" """))
    said = coffre("config", "edit", "--yes")

    assert said.status == 1
    assert "\x1b" not in said.out + said.err
