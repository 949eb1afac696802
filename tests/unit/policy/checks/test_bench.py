"""Every registered code: provoked, spared, unable to look, documented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from tests.unit.policy.checks.bench import Area, Fixture, areas

from coffre.model.checkup import CheckResult, State
from coffre.policy.checks.check import Check, Facts, Unread, facts_of
from coffre.policy.checks.registry import CHECKS, run_checks

_ROOT: Final = Path(__file__).parents[4]
_CASES: Final = [(area, fixture) for area in areas() for fixture in area.fixtures]
_BY_CODE: Final = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
_BY_CASE: Final = pytest.mark.parametrize(("area", "fixture"), _CASES, ids=[fixture.code for _, fixture in _CASES])


def _findings(facts: Facts) -> list[CheckResult]:
    return [one for one in run_checks(facts) if one.state is State.FINDING]


def test_codes_are_unique() -> None:
    codes = [check.code for check in CHECKS]

    assert sorted(codes) == sorted(set(codes))
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", code) for code in codes)


def test_every_code_has_a_fixture_and_every_fixture_a_code() -> None:
    assert {fixture.code for _, fixture in _CASES} == {check.code for check in CHECKS}


@pytest.mark.parametrize("area", areas(), ids=lambda area: area.name)
def test_nothing_is_said_about_what_is_healthy(area: Area) -> None:
    assert [one for one in run_checks(area.healthy) if one.state is not State.OK] == []


@_BY_CASE
def test_what_provokes_a_code_provokes_it_and_no_other(area: Area, fixture: Fixture) -> None:
    found = _findings({**area.healthy, **facts_of(*fixture.provokes)})

    assert {one.code for one in found} == {fixture.code} | fixture.also
    for one in found:
        assert one.sentence
        assert one.cure


@_BY_CASE
def test_what_looks_alike_provokes_nothing(area: Area, fixture: Fixture) -> None:
    results = run_checks({**area.healthy, **facts_of(*fixture.spares)})

    assert [one for one in results if one.state is not State.OK] == []
    assert fixture.code in {one.code for one in results}


@_BY_CASE
def test_a_group_that_was_not_read_is_never_ok(area: Area, fixture: Fixture) -> None:
    [check] = [check for check in CHECKS if check.code == fixture.code]
    for group in check.needs:
        results = list(check.run({**area.healthy, group: Unread("The server did not answer.")}))

        assert [(one.state, one.sentence) for one in results] == [(State.COULD_NOT_LOOK, "The server did not answer.")]


@_BY_CODE
def test_what_does_not_apply_is_not_run(check: Check) -> None:
    assert check.needs
    assert list(check.run({})) == []


@_BY_CODE
def test_each_code_has_its_texts_and_its_section(check: Check) -> None:
    file, _, anchor = check.docs.partition("#")

    assert anchor in set(_anchors(_ROOT / file))
    for text in (check.fine, check.cure):
        assert text.endswith((".", ";"))


def _anchors(path: Path) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE):
        yield re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")
