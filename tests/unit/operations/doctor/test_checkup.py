"""Facts are gathered by readers that may fail; what failed is never taken for well."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from coffre.model.checkup import Severity, State
from coffre.model.errors import ConnectError
from coffre.operations.doctor.checkup import Reader, examine, gather
from coffre.policy.checks.address import Address
from coffre.policy.checks.check import Unread

_NOW: Final = datetime(2026, 11, 28, 3, 0, tzinfo=UTC)
_ADDRESS: Final = Address("db.abc.supabase.co", 5432, "u", "the secret shop", ("2001:db8::7",), has_ipv6=False)


class _Other:
    """Another group of facts."""


def test_what_readers_return_is_judged() -> None:
    checkup = examine("shop", [Reader((Address,), lambda: [_ADDRESS])], _NOW, _fail)

    [found] = checkup.blockers
    assert (found.code, found.severity, found.state) == ("ADDRESS_IPV6_ONLY", Severity.BLOCKER, State.FINDING)
    assert "postgres.abc" in (found.cure or "")
    assert (checkup.target, checkup.at, checkup.version) == ("shop", _NOW, 1)


def test_a_reader_that_fails_costs_its_own_facts_alone() -> None:
    def refused() -> Iterator[object]:
        raise ConnectError("Nothing answers.", code="CONNECTION_REFUSED")

    facts = gather([Reader((_Other,), refused), Reader((Address,), lambda: [_ADDRESS])], _fail)

    assert facts == {_Other: Unread("Nothing answers. [CONNECTION_REFUSED]"), Address: _ADDRESS}


def test_an_unexpected_error_shows_no_text_of_its_own() -> None:
    errors: list[Exception] = []

    def broken() -> Iterator[object]:
        yield _ADDRESS
        raise ValueError("password")

    facts = gather([Reader((Address, _Other), broken)], errors.append)

    assert facts[Address] == _ADDRESS
    assert facts[_Other] == Unread("An unexpected ValueError: the log of the function has it.")
    assert len(errors) == 1


def test_what_a_reader_promised_and_did_not_return_was_not_read() -> None:
    checkup = examine("shop", [Reader((Address,), list)], _NOW, _fail)

    assert {(one.state, one.sentence) for one in checkup.results} == {(State.COULD_NOT_LOOK, "This was not read.")}


def test_a_reader_can_give_the_reason_why_one_of_its_groups_was_not_read() -> None:
    facts = gather([Reader((Address,), lambda: [(Address, Unread("No network."))])], _fail)

    assert facts == {Address: Unread("No network.")}


def test_the_worst_comes_first() -> None:
    checkup = examine("shop", [Reader((Address,), lambda: [_ADDRESS])], _NOW, _fail)

    ranks = [(one.state is not State.FINDING, one.severity.rank) for one in checkup.results]
    assert ranks == sorted(ranks)


def _fail(error: Exception) -> None:
    raise AssertionError(error)
