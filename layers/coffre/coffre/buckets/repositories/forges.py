"""Which repositories an organisation has, by the REST APIs of GitHub and GitLab (their documentation, 2026-11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from coffre.buckets.repositories.credentials import Credentials
from coffre.buckets.repositories.git_errors import refusal
from coffre.buckets.repositories.git_http import Wire
from coffre.model.document import parse_json
from coffre.model.errors import CoffreError, StoreError
from coffre.model.names import visible
from coffre.model.repositories import Organisation, RepositoryAddress
from coffre.policy.object_keys import key_choice

_PAGE: Final = 100
_MOST_PAGES: Final = 500  # GitLab ends numbered pages after 50,000 projects


def repositories_of(
    organisation: Organisation, credentials: Credentials, wire: Wire, miss: Callable[[str], None]
) -> Iterator[RepositoryAddress]:
    """Yield the repositories that belong to a backup. URLs of the answer are not used: only names are.

    Parameters
    ----------
    miss
        Gets a sentence about each one that cannot be backed up because of its name.

    Raises
    ------
    StoreError
        What `refusal` has; `FORGE_ANSWER`. Nothing is known about the repositories then.
    StoreTransientError
    """
    what = f"The list of repositories of {organisation.name} at {organisation.server.partition('//')[2]}"
    takes = key_choice((), organisation.include, organisation.exclude)
    for item in _items(organisation, credentials, wire, what):
        path, is_archived, is_fork = _facts(organisation, item, what)
        below = path[len(organisation.name) + 1 :]
        if not path.lower().startswith(f"{organisation.name.lower()}/") or not takes(below):
            continue
        if (is_archived and not organisation.archived) or (is_fork and not organisation.forks):
            continue
        try:
            address = organisation.address_of(path)
        except ValueError as error:
            miss(f"{visible(path[:100])} is not in this backup, because of its name: its URL {error}.")
            continue
        yield address


def _facts(organisation: Organisation, item: Any, what: str) -> tuple[str, bool, bool]:
    name = "full_name" if organisation.forge == "github" else "path_with_namespace"
    if not isinstance(item, Mapping) or not isinstance(item.get(name), str):
        raise _strange(what, f"A repository has no {name}.")
    is_fork = bool(item.get("fork") if organisation.forge == "github" else item.get("forked_from_project"))
    return item[name], bool(item.get("archived")), is_fork


def _items(organisation: Organisation, credentials: Credentials, wire: Wire, what: str) -> Iterator[Any]:
    for number in range(1, _MOST_PAGES + 1):
        url, headers = _request(organisation, number)
        response = wire.request("api", "GET", url, headers={**headers, **credentials.bearer, "User-Agent": "coffre"})
        body = wire.text(response)
        if response.status != 200:
            lower = {name.lower(): value for name, value in response.headers.items()}
            raise _of_the_list(refusal(what, response.status, lower, credentials))
        try:
            items = parse_json(body)
        except ValueError:
            raise _strange(what, "It is no JSON.") from None
        if not isinstance(items, list):
            raise _strange(what, "It is no list.")
        yield from items
        if len(items) < _PAGE:
            return
    raise _strange(what, f"It has more than {_MOST_PAGES * _PAGE:,} repositories.")


def _request(organisation: Organisation, page: int) -> tuple[str, dict[str, str]]:
    server = organisation.server
    if organisation.forge == "gitlab":
        group = quote(organisation.name, safe="")
        query = f"include_subgroups=true&per_page={_PAGE}&page={page}&order_by=id&sort=asc"
        return f"{server}/api/v4/groups/{group}/projects?{query}", {"Accept": "application/json"}
    api = "https://api.github.com" if server == "https://github.com" else f"{server}/api/v3"
    query = f"type=all&sort=full_name&per_page={_PAGE}&page={page}"
    headers = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
    return f"{api}/orgs/{quote(organisation.name, safe='')}/repos?{query}", headers


def _of_the_list(error: CoffreError) -> CoffreError:
    if error.code == "REPOSITORY_GONE":
        error.code = "ORGANISATION_GONE"
        error.hint = "Check the name: it has to be an organisation or a group, not a user; and what the token may see."
    return error


def _strange(what: str, detail: str) -> StoreError:
    return StoreError(
        f"{what} is not as the API describes it.",
        code="FORGE_ANSWER",
        detail=detail,
        hint="Check forge and url of the organisation in the configuration.",
    )
