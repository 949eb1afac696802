"""What a journal that begins will lack, and what keeps it from beginning, in whatever way it was configured."""

from __future__ import annotations

import psycopg2
from aws_lambda_powertools import Logger

from coffre.model.checkup import CheckResult, Severity, State
from coffre.model.errors import CoffreError
from coffre.model.journal_options import JournalOptions
from coffre.operations.journal.begin_interval import plugin_of
from coffre.operations.journal.job import JournalJob
from coffre.policy.checks.check import facts_of
from coffre.policy.checks.registry import run_checks
from coffre.postgres.connection.connect import connect
from coffre.postgres.inspection.journal import read_journal_server
from coffre.postgres.inspection.sessions import limit, reading
from coffre.postgres.journal import pgoutput
from coffre.postgres.journal.publication_facts import read_journal_publication
from coffre.runtime.observability import log_failure


def limits_of(job: JournalJob, options: JournalOptions, logger: Logger) -> tuple[CheckResult, ...]:
    """Return what doctor finds about a journal that has to be known; a look that fails is logged and stops no drain."""
    try:
        with connect(job.connection) as session:
            is_published = plugin_of(job, session) == pgoutput.PLUGIN
            with reading(session) as query:
                limit(session)
                facts = [read_journal_server(query, options, is_published=is_published)]
                published = [read_journal_publication(query)] if is_published else []
    except (CoffreError, psycopg2.Error) as error:
        log_failure(logger, error, target=job.target)
        return ()
    results = run_checks(facts_of(*facts, *published))
    return tuple(one for one in results if one.state is State.FINDING and one.severity is not Severity.NOTE)
