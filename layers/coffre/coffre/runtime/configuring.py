"""The function `rotate`, for the configuration document: no policy for people writes records of the catalog."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coffre.alerts.alert import Alert
from coffre.alerts.audit import request_refused
from coffre.model.audit import Actor
from coffre.model.backup import Failure
from coffre.model.configuration_version import ConfigurationVersion, WantedDocument
from coffre.model.errors import CoffreError, ConfirmationError
from coffre.operations.configure.change import ConfigurationChange
from coffre.policy.configuration_change import demanded_approvals
from coffre.runtime.bootstrap import Services
from coffre.runtime.confirming import confirming_of, needed
from coffre.runtime.events.rotate import ConfigurationEvent
from coffre.runtime.function import utc_now
from coffre.runtime.observability import log_failure
from coffre.vault.configuration_copies import keep_copy


def answer_configuration(services: Services, event: ConfigurationEvent, request_id: str) -> dict[str, Any]:
    """Write a version, or answer with the plan of that.

    A document that cannot be written is an answer, `failure`: it stops nothing that others rely on. What is not
    confirmed is raised and reported, as for deletions.
    """
    actor = services.actor(event)

    def failed(error: Exception) -> Alert:
        # The refusal of a token is counted where it is refused.
        return request_refused(actor, "configuration.changed", Failure.of(error), utc_now())

    with services.edge.reporting(failed, request_id=request_id):
        try:
            return _answer(services, event, actor)
        except ConfirmationError:
            raise
        except CoffreError as error:
            log_failure(services.edge.logger, error, request_id=request_id)
            return {"failure": Failure.of(error).model_dump(mode="json")}


def keep_configuration(services: Services, version: ConfigurationVersion | None = None) -> None:
    """Keep a copy of a version (by default of what is in effect) in the vault; the next rotation repeats what fails."""

    def keep() -> None:
        wanted = version or services.current_configuration().as_version()
        if wanted is not None:
            keep_copy(services.vault.store, wanted)

    services.edge.attempt("copy of the configuration", keep)


def _answer(services: Services, event: ConfigurationEvent, actor: Actor) -> dict[str, Any]:
    current = services.current_configuration()
    approvals = demanded_approvals(current.document)
    confirming = replace(confirming_of(services, actor), approvals=lambda _: approvals)
    wanted = event.configuration
    document = WantedDocument(wanted.document, wanted.based_on, wanted.note)
    change = ConfigurationChange(services.catalog, current, document, actor, utc_now())
    plan = change.plan()
    if wanted.dry_run:
        return confirming.give_out(plan)
    if event.confirmation is None:
        raise needed("the configuration", {"configuration": {"document": "...", "based_on": wanted.based_on}})
    confirming.confirm(plan, event.confirmation, plan.request.backup_id)
    version = change.write()
    keep_configuration(services, version)
    services.edge.logger.info(
        "configuration changed", extra={"version": version.number, "sha256": version.sha256, "actor": version.actor}
    )
    return {"version": version.model_dump(mode="json", exclude={"document"})}
