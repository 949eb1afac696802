"""What a restore of objects has done so far: counted, the failures kept in a file, the first of each kind by name."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Final

from coffre.model.backup import Failure
from coffre.model.errors import CoffreError, RestoreError, StoreTransientError
from coffre.model.storage import Objects, StorageOutcome, StorageResult
from coffre.model.words import counted
from coffre.operations.restore_buckets.write_object import Done

_EXAMPLES: Final = 20
_FAILURES_SHOWN: Final = 20
# When this number of consecutive objects fails in the same way, the objects are not the cause: the store does not
# answer, or refuses everything.
_ALIKE_IN_A_ROW: Final = 25
# After something was written, a refusal is rather of the objects: a policy for their folder, names that are not taken.
_REFUSED_IN_A_ROW: Final = 10_000
_WITH_EXAMPLES: Final = frozenset({StorageOutcome.OVERWRITTEN, StorageOutcome.LEFT, StorageOutcome.DELETED})


class RestoreTally:
    """Counts on from a result.

    Parameters
    ----------
    failed
        Where the failures of this invocation go, as JSON lines; it is made with the first.
    """

    def __init__(self, result: StorageResult, failed: Path) -> None:
        self._result = result
        self._file = failed
        self._amounts: dict[StorageOutcome, list[int]] = defaultdict(lambda: [0, 0])
        self._examples = defaultdict(list, {kind: list(names) for kind, names in result.examples.items()})
        self._failures = list(result.failures)
        self._with_acl = result.with_acl
        self._alike = 0
        self._last_code = ""
        self.failed_now = 0

    def add(self, done: Done) -> None:
        """Count one object.

        Raises
        ------
        RestoreError
            Enough objects failed in the same way that the rest would too.
        """
        if done.outcome is None:
            return
        amount = self._amounts[done.outcome]
        amount[0] += 1
        amount[1] += done.size_bytes
        self._with_acl += done.with_acl and done.outcome in (StorageOutcome.RESTORED, StorageOutcome.OVERWRITTEN)
        if done.outcome in _WITH_EXAMPLES and len(self._examples[done.outcome]) < _EXAMPLES:
            self._examples[done.outcome].append(done.place)
        if done.error is None:
            self._alike = 0
        else:
            self._fail(done, done.error)

    def _fail(self, done: Done, error: CoffreError) -> None:
        failure = Failure.of(error)
        if not done.is_extra:
            line = {"name": done.name, "code": failure.code, "message": failure.message}
            with self._file.open("ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
            self.failed_now += 1
        if len(self._failures) < _FAILURES_SHOWN:
            where = done.place if done.is_extra or done.place == done.name else f"{done.name} (to {done.place})"
            self._failures.append(f"{where}: {failure.message} [{failure.code}]")
        self._alike = self._alike + 1 if error.code == self._last_code else 1
        self._last_code = error.code
        # Damage in the vault is in the objects: the others may be whole.
        if self._alike >= _ALIKE_IN_A_ROW and error.code.startswith(("STORE_", "KMS_")):
            result = self.result()
            is_of_objects = result.written > 0 and not isinstance(error, StoreTransientError)
            if not is_of_objects or self._alike >= _REFUSED_IN_A_ROW:
                raise _hopeless(error, self._alike, result)

    def result(self) -> StorageResult:
        """Return what there is to say now."""
        changes: dict[str, object] = {
            outcome.value: self._sum(outcome, *amount) for outcome, amount in self._amounts.items()
        }
        changes["examples"] = {kind: tuple(names) for kind, names in self._examples.items()}
        return self._result.model_copy(
            update={**changes, "failures": tuple(self._failures), "with_acl": self._with_acl}
        )

    def _sum(self, outcome: StorageOutcome, count: int, size_bytes: int) -> Objects:
        before: Objects = getattr(self._result, outcome.value)
        return Objects(count=before.count + count, size_bytes=before.size_bytes + size_bytes)


def _hopeless(error: CoffreError, failed: int, result: StorageResult) -> RestoreError:
    done = result.written
    return RestoreError(
        f"{failed:,} objects in a row failed alike, so the restore stopped: {error.message}",
        code=error.code,
        detail=error.detail,
        hint=f"{error.hint or ''} Then run it again: the {counted(done, 'object')} that "
        f"{'is' if done == 1 else 'are'} restored will be found the same. If only these are refused, restore the "
        "others alone: --prefix, --keys-from.".lstrip(),
    )
