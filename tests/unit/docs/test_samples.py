"""What the documentation shows that a command prints is what it prints: each sample is run."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

import pytest
from tests.unit.cli.conftest import Account
from tests.unit.docs.pages import Sample, pages, samples_of
from tests.unit.docs.scenes import SCENES, Stage
from tests.unit.docs.shown import difference, is_made_in
from tests.unit.docs.terminal import Terminal

_FOLDER: Final = Path(__file__).parent / "scenes"
for module in sorted(_FOLDER.glob("[a-z]*.py")):
    import_module(f"tests.unit.docs.scenes.{module.stem}")

# Blocks that are no output: (page and heading, first line).
NO_OUTPUT: Final = frozenset(
    [
        (
            "docs/alerts.md#Slack, Teams, Discord, Telegram, webhooks, ...",
            "https://hooks.slack.com/services/T000/B000/xxxxxxxx",
        ),
    ]
)
_HOW_TO: Final = (
    "has no scene, so that nothing proves what it shows. Add a function with @scene(PLACE, SHOWN) to a module of "
    "tests/unit/docs/scenes, with place and shown as in this message, that sets the stage for the command: what the "
    "account holds, what the functions answer. A block that no command prints belongs into NO_OUTPUT."
)
SAMPLES: Final = {
    key: sample
    for page in pages()
    for sample in samples_of(page)
    if (key := (sample.place, sample.line.text or sample.output[0])) not in NO_OUTPUT
}


@pytest.mark.parametrize("key", SAMPLES, ids=lambda key: f"{key[0].partition('#')[0]}: {key[1][:60]}")
def test_a_command_prints_what_the_page_shows(
    key: tuple[str, str],
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    sample = SAMPLES[key]
    assert key in SCENES, f"{sample.line.where}: {key} {_HOW_TO}"
    scene = SCENES[key]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    terminal = Terminal(monkeypatch, tmp_path)
    stage = Stage(account, terminal, monkeypatch, request.getfixturevalue)
    scene.prepare(stage)

    if stage.part is None:
        printed = terminal.run(sample.line.text or scene.command, scene.typed)
    else:
        printed = terminal.call(stage.part)

    found = difference(sample.output, printed.splitlines(), is_part=not sample.line.text)
    assert found is None, f"{sample.line.where}: {key[1]}\n{found}"
    assert stage.after()
    assert terminal.statuses[-1:] in ([scene.status], [])


def test_every_scene_has_its_sample() -> None:
    assert not SCENES.keys() - SAMPLES.keys(), "these scenes belong to no sample: remove them, or correct their place"
    assert not NO_OUTPUT - {(one.place, one.output[0]) for one in _blocks()}


def _blocks() -> list[Sample]:
    return [sample for page in pages() for sample in samples_of(page) if not sample.line.text]


@pytest.mark.parametrize(
    ("shown", "printed", "is_same"),
    [
        ("Restored 01K9X... in 5 s.", "Restored 01K9XAAAAAAAAAAAAAAAAAAAB1 in 790 ms.", True),
        ("Restored 2 tables.", "Restored 3 tables.", False),
        ("a\n...\nd", "a\nb\nc\nd", True),
        ("a\n...\nd", "a\nd", False),
        ("one ...", "one two", True),
        ("TABLE  ROWS\na         5", "TABLE ROWS\na        5", True),
        ("  indented", "indented", False),
        ("a", "a\nb", False),
    ],
)
def test_only_what_differs_in_each_run_may_differ(shown: str, printed: str, is_same: bool) -> None:
    assert (difference(shown.split("\n"), printed.split("\n"), is_part=False) is None) is is_same


def test_an_output_without_its_command_may_be_a_part() -> None:
    assert difference(["b"], ["a", "b", "c"], is_part=True) is None
    assert difference(["b", "d"], ["a", "b", "c", "d"], is_part=True) is not None


def test_sentences_of_functions_are_found_in_their_code() -> None:
    module = "operations/restore_database/whole_plan.py"

    assert is_made_in("Gather the statistics that the planner needs (ANALYZE).", module)
    assert not is_made_in("Gather the statistics that the planner wants (ANALYZE).", module)
