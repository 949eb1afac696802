"""What an invocation used is recorded when it ends, however it ends, and never stands in its way."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from coffre.model.errors import CatalogError
from coffre.model.usage import Job, Usage
from coffre.runtime.metering import Metering, metered


class Recorded:
    """The services of a function, as far as they are used here."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.name = "backup_database"
        self.metering = Metering()
        self.recorded: list[Usage] = []
        self.unsent: list[str] = []
        self.refuses = refuses
        self.catalog = SimpleNamespace(usages=SimpleNamespace(add=self._add))
        self.edge = SimpleNamespace(attempt=self._attempt)

    def _add(self, used: Usage) -> None:
        if self.refuses:
            raise CatalogError("no")
        self.recorded.append(used)

    def _attempt(self, what: str, act: Any) -> None:
        try:
            act()
        except CatalogError:
            self.unsent.append(what)


class Function:
    def __init__(self, services: Any) -> None:
        self.services = services

    @metered
    def handle(self, event: object, context: Any) -> dict[str, Any]:
        """Do what the event says."""
        if event == "nothing":
            return {}
        self.services.metering.tally.add(vault_writes=3)
        self.services.metering.about("shop", "01M00000000000000000000001")
        if event == "fail":
            raise ValueError("broken")
        return {"done": True}


@pytest.fixture(autouse=True)
def memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "2048")


def test_a_run_is_recorded_with_memory_times_duration() -> None:
    services = Recorded()

    assert Function(services).handle("run", None) == {"done": True}  # type: ignore[arg-type]

    (used,) = services.recorded
    assert (used.id, used.target, used.job) == ("01M00000000000000000000001", "shop", Job.BACKUP)
    assert (used.invocations, used.vault_writes) == (1, 3)
    assert used.function_mb_ms >= 2048
    assert used.function_mb_ms % 2048 == 0


def test_a_run_that_fails_is_recorded_too() -> None:
    services = Recorded()

    with pytest.raises(ValueError, match="broken"):
        Function(services).handle("fail", None)  # type: ignore[arg-type]

    assert [used.vault_writes for used in services.recorded] == [3]


def test_an_invocation_counts_only_its_own_requests() -> None:
    services = Recorded()
    services.metering.tally.add(vault_reads=99)

    for _ in range(2):
        Function(services).handle("run", None)  # type: ignore[arg-type]

    assert [(used.vault_writes, used.vault_reads) for used in services.recorded] == [(3, 0), (3, 0)]


def test_an_invocation_without_a_run_is_not_recorded() -> None:
    services = Recorded()

    Function(services).handle("nothing", None)  # type: ignore[arg-type]

    assert services.recorded == []


def test_a_run_is_not_affected_when_its_use_cannot_be_recorded() -> None:
    services = Recorded(refuses=True)

    assert Function(services).handle("run", None) == {"done": True}  # type: ignore[arg-type]
    assert services.unsent == ["usage"]
