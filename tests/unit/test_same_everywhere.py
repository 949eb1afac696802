"""What makes a run of the tests the same on every machine, and whatever ran before."""

from __future__ import annotations

from hypothesis.internal.conjecture import providers

from coffre_local.ports import free_port


def test_examples_do_not_depend_on_the_modules_that_other_tests_have_imported() -> None:
    assert list(providers._get_local_constants()) == []


def test_a_free_port_is_none_that_the_system_gives_to_others() -> None:
    assert {20_000 <= free_port() <= 32_000 for _ in range(50)} == {True}
