"""Whether the repositories of a target can be read, as a backup reads them. Refs are read, and nothing is fetched."""

from __future__ import annotations

from coffre.buckets.repositories.reader import RepositoryReader
from coffre.model.errors import CoffreError
from coffre.operations.doctor.vault_access import attempt, trouble
from coffre.policy.checks.repositories import RepositoryFacts


def read_repositories(reader: RepositoryReader) -> RepositoryFacts:
    """Find the repositories, and ask each for its refs."""
    try:
        found = [wanted for of_host in reader.repositories().values() for wanted in of_host]
    except CoffreError as error:
        return RepositoryFacts(listed=trouble(error))
    seen = ((wanted.address.name, attempt(reader.remote(wanted).refs)) for wanted in found)
    return RepositoryFacts(unread=tuple((name, error) for name, error in seen if error is not None))
