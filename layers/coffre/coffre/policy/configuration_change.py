"""What a new configuration document changes, in words, and which of it may weaken the protection: pure decisions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from coffre.model.configuration import Configuration

_SHOWN: Final = 60
_LISTED: Final = 200
# Lists of things with names: compared by name, so that another order or one thing more is no change of the others.
_NAMED: Final = frozenset({"targets", "buckets", "checks", "trust"})
# An address with a secret part: a person who knows it can silence the dead man's switch.
_HIDDEN: Final = ("heartbeat_url",)
_NOTHING: Final = object()
_PRESENT: Final = object()

# Fields whose changes never leave less protected than before. A field in no rule counts as one that may.
_HARMLESS: Final = re.compile(r"version|targets\.[^.]+\.(limits|freshness|attributes|attributes_every)\b.*")
# Here a larger number, or one instead of null, keeps or demands more.
_MORE_IS_SAFER: Final = re.compile(
    r"targets\.[^.]+\.(retention\.(\w+_days|\w+_count|minimum_kept|minimum_verified)|drill\.(objects|check_timeout_seconds)|journal\.window_days)"
    r"|(targets\.[^.]+\.)?confirmation\.approvals"
)
_JOURNAL: Final = re.compile(r"targets\.[^.]+\.journal\.\w+")
# Here null means without a limit, or never reported.
_LIMITS: Final = re.compile(r"targets\.[^.]+\.retention\.maximum_bytes")
_REPORTS: Final = re.compile(
    r"(targets\.[^.]+\.)?alerts\.\w+|targets\.[^.]+\.drill\.rto_minutes|vault_quota_bytes|(targets\.[^.]+\.)?objectives\..+"
)


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `path` names the field (targets by their names), `words` says all of it.

    `weakens`: with it less may be backed up, kept, encrypted, reported or confirmed, or for other people.
    """

    path: str
    words: str
    weakens: bool


def changes(before: Configuration | None, after: Configuration) -> list[Change]:
    """Return what is different, in the order of the fields; defaults that are only written out are no difference.

    Parameters
    ----------
    before
        None: it cannot be read, so that nothing is known about what was protected.
    """
    if before is None:
        return [Change("document", "the document before is not valid: all of it is replaced", weakens=True)]
    return list(_differences(_flat(_effective(before)), _flat(_effective(after))))


def listed(found: list[Change]) -> tuple[str, ...]:
    """Return the words of changes as they are kept: at most two hundred, and the number of the others."""
    words = [one.words for one in found[:_LISTED]]
    return (*words, f"and {len(found) - _LISTED:,} more changes") if len(found) > _LISTED else tuple(words)


def demanded_approvals(document: str) -> int:
    """Return how many people have to approve a change that weakens this document: 1 if any of its rules demands one.

    A document that is not valid (any more) is asked as well: being unreadable must not switch the second person off.
    """
    try:
        data = json.loads(document)
    except (ValueError, RecursionError):
        return 0
    if not isinstance(data, dict):
        return 0
    targets = data.get("targets")
    rules = [data, *(targets if isinstance(targets, list) else [])]
    return int(any(_approvals(one) for one in rules))


def _approvals(rules: object) -> bool:
    confirmation = rules.get("confirmation") if isinstance(rules, dict) else None
    return isinstance(confirmation, dict) and confirmation.get("approvals") not in (None, 0)


def _flat(value: object, path: str = "") -> dict[str, Any]:
    """Return the fields of a document by their paths; what has a name is found by it, and has a path of its own."""
    last = path.rpartition(".")[2]
    if isinstance(value, list) and last in _NAMED and all(isinstance(one, dict) for one in value):
        found: dict[str, Any] = {}
        for one in value:
            found |= {f"{path}.{one['name']}": _PRESENT, **_flat(one, f"{path}.{one['name']}")}
        return found
    if not isinstance(value, dict):
        return {path: value}
    found = {}
    for name, inner in value.items():
        found |= _flat(inner, f"{path}.{name}" if path else name)
    return found


def _effective(configuration: Configuration) -> dict[str, Any]:
    """Return the whole document with its defaults, and in each target the rules of confirmation that hold for it."""
    data = configuration.model_dump(mode="json")
    for target in data["targets"]:
        target["confirmation"] = target["confirmation"] or data["confirmation"]
    return data


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    paths = dict.fromkeys((*old, *new))
    whole = {path for path in paths if _PRESENT in (old.get(path), new.get(path)) and (path in old) != (path in new)}
    inside = None  # What is in a thing follows it: a document may have thousands of them.
    for path in paths:
        if inside is not None and path.startswith(inside):
            continue
        if path in whole:
            inside = f"{path}."
            yield _whole(path, is_new=path in new)
            continue
        before, after = old.get(path, _NOTHING), new.get(path, _NOTHING)
        # A section that is null on one side has its fields on the other: they say all of it.
        if before != after and not (None in (before, after) and _NOTHING in (before, after)):
            yield _change(path, before, after)


def _whole(path: str, *, is_new: bool) -> Change:
    if is_new:
        return Change(path, f"{path}: new", weakens=False)
    kept = ". No more backups of it are taken; those that exist stay" if path.count(".") == 1 else ""
    return Change(path, f"{path}: removed{kept}", weakens=True)


def _change(path: str, before: object, after: object) -> Change:
    if path.endswith(_HIDDEN):
        words = "removed" if after is None else "set" if before is None else "changed"
        return Change(path, f"{path}: {words}", weakens=after is None)
    if path == "contacts":  # names and numbers of people: no record of a change repeats them
        return Change(path, f"{path}: changed", weakens=False)
    return Change(path, f"{path}: {_words(before, after)}", _weakens(path, before, after))


def _weakens(path: str, before: object, after: object) -> bool:
    is_switched_on = before is _NOTHING and _JOURNAL.fullmatch(path)
    if is_switched_on or _HARMLESS.fullmatch(path):
        return False
    if _MORE_IS_SAFER.fullmatch(path):
        return not _number(after) > _number(before)
    if _LIMITS.fullmatch(path):
        return after is not None and not (before is not None and _number(after) > _number(before))
    if _REPORTS.fullmatch(path):
        return after is None
    return True


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else -1.0


def _words(before: object, after: object) -> str:
    if isinstance(before, list) and isinstance(after, list):
        added = [one for one in after if one not in before]
        removed = [one for one in before if one not in after]
        parts = [f"{verb} {_shown(which)}" for verb, which in (("adds", added), ("removes", removed)) if which]
        return "; ".join(parts) or "another order"
    if before is _NOTHING:
        return f"new: {_shown(after)}"
    if after is _NOTHING:
        return f"removed: {_shown(before)}"
    return f"{_shown(before)} -> {_shown(after)}"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(_shown(one) for one in value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f'{text[: _SHOWN - 4]}..."'
