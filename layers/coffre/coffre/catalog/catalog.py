"""The catalog: which backups and restores exist, and how far each is."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

import botocore.session

from coffre.catalog.api_keys import ApiKeys
from coffre.catalog.audit import Audit
from coffre.catalog.backups import BackupRecords
from coffre.catalog.checkups import Checkups
from coffre.catalog.configurations import Configurations
from coffre.catalog.console_starts import Starts
from coffre.catalog.copies import Copies
from coffre.catalog.deliveries import Deliveries
from coffre.catalog.drill_runs import DrillRuns
from coffre.catalog.incidents import Incidents
from coffre.catalog.journals import Journals
from coffre.catalog.latest_results import Latest
from coffre.catalog.lifecycle_marks import LifecycleMarks
from coffre.catalog.lock import Locks
from coffre.catalog.parts import Parts
from coffre.catalog.protection import Protection
from coffre.catalog.recipients import Recipients
from coffre.catalog.refused_attempts import Attempts
from coffre.catalog.restores import RestoreRecords
from coffre.catalog.servers import Servers
from coffre.catalog.sessions import Sessions
from coffre.catalog.tables import DynamoTable
from coffre.catalog.ticks import Ticks
from coffre.catalog.usages import Usages

if TYPE_CHECKING:
    from coffre.catalog.confirmations import Confirmations
    from coffre.catalog.journal_proofs import ProofsOfJournals
    from coffre.catalog.points import Points
    from coffre.catalog.spread import Spread


class Catalog(BackupRecords, RestoreRecords):
    """The records of one deployment, in one DynamoDB table. Those of runs are its own, each other kind has an object.

    Every method can raise `CatalogError` (retryable) when the table does not answer, and `IntegrityError`
    (`RECORD_DAMAGED`) when an item was changed by hand. Single records are read consistently, and so are listings
    without a filter; a listing by target or status comes from an index that may be a moment behind.

    Parameters
    ----------
    table_name
        The table; nothing is asked of it before the first call.
    region, endpoint_url
        As boto3 takes them; by default from the environment (`AWS_DEFAULT_REGION`, `AWS_ENDPOINT_URL_DYNAMODB`,
        `AWS_ENDPOINT_URL`).
    session
        Of the process's other clients; by default one of its own.
    now
        The clock: a backup of the future is never the newest.
    origin
        From where this process records audit events: the function or the command, and the region.

    Attributes
    ----------
    locks, audit
        Who works on which target; who did what.
    keeping, protection
        What a backup's life depends on: pins, verification, deletion; holds and locks.
    incidents, recipients
        Which problems were reported; since when each public key has been in use.
    deliveries
        Which run an event has started.
    checkups
        What doctor said last about each target.
    servers
        Which databases were found on servers.
    configurations
        The versions of the configuration document.
    journals
        How far the journal of each target has come.
    latest
        How the newest drills ended, and how much the vault holds.
    drill_runs
        Which drills run.
    usages
        What each run used.
    copies
        Which backups are in which copy of the vault.
    parts
        What the records of finished parts are: a run continues from those of one that did not finish.
    sessions, api_keys, attempts, starts
        Who is signed in to the console; the keys of its API; how often requests were refused; what it has started.
    ticks
        Up to which time the runs of schedules were started.
    """

    def __init__(
        self,
        table_name: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        session: botocore.session.Session | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        origin: str | None = None,
    ) -> None:
        self._table = DynamoTable(table_name, region=region, endpoint_url=endpoint_url, session=session)
        BackupRecords.__init__(self, self._table, now)
        RestoreRecords.__init__(self, self._table)
        self.locks = Locks(self._table)
        self.audit = Audit(self._table, origin)
        self.keeping = LifecycleMarks(self._backups)
        self.protection = Protection(self._backups)
        self.incidents = Incidents(self._table)
        self.recipients = Recipients(self._table)
        self.deliveries = Deliveries(self._table)
        self.drill_runs = DrillRuns(self._table)
        self.checkups = Checkups(self._table)
        self.servers = Servers(self._table)
        self.configurations = Configurations(self._table)
        self.journals = Journals(self._table)
        self.latest = Latest(self._table)
        self.ticks = Ticks(self._table)
        self.usages = Usages(self._table)
        self.copies = Copies(self._table)
        self.parts = Parts(self._table)
        self.sessions = Sessions(self._table)
        self.api_keys = ApiKeys(self._table)
        self.attempts = Attempts(self._table)
        self.starts = Starts(self._table)

    # Here, for few processes read these, and a start pays for what their records are made of.

    @cached_property
    def confirmations(self) -> Confirmations:
        """Plans whose tokens were given out."""
        from coffre.catalog.confirmations import Confirmations

        return Confirmations(self._table)

    @cached_property
    def journal_proofs(self) -> ProofsOfJournals:
        """What drills have proven of the journals."""
        from coffre.catalog.journal_proofs import ProofsOfJournals

        return ProofsOfJournals(self._table)

    @cached_property
    def points(self) -> Points:
        """Which restore points of a database and its buckets were taken."""
        from coffre.catalog.points import Points

        return Points(self._table)

    @cached_property
    def spread(self) -> Spread:
        """Which holders of a spread backup are alive, and how far its groups are."""
        from coffre.catalog.spread import Spread

        return Spread(self._table)
