"""`python -m supply_chain.scan`: bandit, checkov and detect-secrets, each finding fixed or suppressed with a reason.

Exit status 1: a finding without a suppression, or a suppression that suppresses nothing any more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

import yaml
from tests.template.rendering import read_template

from coffre_local.toolchain import Toolchain

ROOT: Final = Path(__file__).resolve().parents[1]
_TEMPLATES: Final = ("template.yaml", "receiver.yaml")
SUPPRESSIONS: Final = ROOT / "supply_chain" / "suppressions.yml"
_CODE: Final = ("layers", "functions", "cli", "supply_chain")
# What is written as prose or test data holds words such as "password" everywhere: there, the form of a key decides.
_DETECTORS_BY_WORD: Final = ("KeywordDetector", "Base64HighEntropyString", "HexHighEntropyString")


class ScanError(Exception):
    """A scanner did not run: nothing is known about the checkout."""


@dataclass(frozen=True, order=True)
class Finding:
    """One finding: `where` is a file, or a resource of the template."""

    tool: str
    check: str
    where: str
    what: str


@dataclass(frozen=True)
class Suppression:
    """Why findings of one check are not mended; `where` is a pattern of files or resources."""

    tool: str
    check: str
    where: str
    reason: str

    def covers(self, finding: Finding) -> bool:
        """Return whether a finding is one of these."""
        same = (self.tool, self.check) == (finding.tool, finding.check)
        return same and fnmatchcase(finding.where, self.where)


def read_suppressions(text: str) -> list[Suppression]:
    """Return the suppressions of a YAML document: tool -> list of check, where, reason.

    Raises
    ------
    ScanError
        A suppression has no reason, or lacks another field.
    """
    found = []
    for tool, entries in yaml.safe_load(text).items():
        for entry in entries:
            if set(entry) != {"check", "where", "reason"} or not all(str(value).strip() for value in entry.values()):
                raise ScanError(f"A suppression of {tool} needs check, where and reason, no more: {entry}")
            found.append(Suppression(tool, entry["check"], entry["where"], entry["reason"]))
    return found


def judge(findings: Sequence[Finding], suppressions: Sequence[Suppression]) -> list[str]:
    """Return what has to be mended, in words: findings without a suppression, suppressions without a finding."""
    wrong = [
        f"{one.tool} {one.check} in {one.where}: {one.what}"
        for one in sorted(findings)
        if not any(suppression.covers(one) for suppression in suppressions)
    ]
    stale = [
        f"The suppression of {one.tool} {one.check} for {one.where} suppresses nothing: remove it."
        for one in suppressions
        if not any(one.covers(finding) for finding in findings)
    ]
    return [*wrong, *stale]


def main() -> int:
    """Scan the checkout and print what has to be mended."""
    binaries = Toolchain(ROOT).scanners()
    findings = [*bandit(binaries), *checkov(binaries), *secrets(binaries, tracked())]
    wrong = judge(findings, read_suppressions(SUPPRESSIONS.read_text()))
    for line in wrong:
        sys.stdout.write(f"{line}\n")
    if wrong:
        sys.stdout.write(
            f"{len(wrong)} to mend. What is right as it is goes into {SUPPRESSIONS.name}, with a reason.\n"
        )
        return 1
    sys.stdout.write(f"bandit, checkov, detect-secrets: {len(findings)} findings, each suppressed with a reason.\n")
    return 0


def bandit(binaries: Path) -> Iterator[Finding]:
    """Yield what bandit finds in the product's code."""
    said = _run(binaries / "bandit", ["--quiet", "--recursive", "--format", "json", *_CODE], ends=(0, 1))
    for one in said["results"]:
        yield Finding(
            "bandit", one["test_id"], _relative(one["filename"]), f"line {one['line_number']}: {one['issue_text']}"
        )


def checkov(binaries: Path) -> Iterator[Finding]:
    """Yield what checkov finds in the templates, whose merge keys it cannot read itself."""
    for name in _TEMPLATES:
        with tempfile.TemporaryDirectory() as scratch:
            template = Path(scratch) / "template.json"
            template.write_text(json.dumps(read_template(name), default=str))
            arguments = ["--file", str(template), "--framework", "cloudformation", "--output", "json"]
            said = _run(binaries / "checkov", [*arguments, "--skip-download"], ends=(0, 1))
        if said["summary"]["parsing_errors"] or not said["summary"]["resource_count"]:
            raise ScanError(f"checkov could not read {name}.")
        for one in said["results"]["failed_checks"]:
            yield Finding("checkov", one["check_id"], one["resource"].rpartition(".")[2], one["check_name"])


def secrets(binaries: Path, files: Sequence[str], root: Path = ROOT) -> Iterator[Finding]:
    """Yield what looks like a secret in these files (paths below `root`)."""
    disabled = [argument for name in _DETECTORS_BY_WORD for argument in ("--disable-plugin", name)]
    plugin = ["--plugin", str(ROOT / "supply_chain" / "age_keys.py")]
    said = _run(binaries / "detect-secrets", ["scan", "--no-verify", *disabled, *plugin, *files], ends=(0,), where=root)
    if not any(one["name"] == "AgeKeyDetector" for one in said["plugins_used"]):
        raise ScanError("detect-secrets did not load the detector of age keys.")
    for path, found in said["results"].items():
        for one in found:
            yield Finding("detect-secrets", one["type"], path, f"line {one['line_number']}")


def tracked() -> list[str]:
    """Return the files of the checkout that git knows, and new ones that it does not ignore."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if (ROOT / name).is_file()]


def _run(program: Path, arguments: Sequence[str], *, ends: Sequence[int], where: Path = ROOT) -> Mapping[str, Any]:
    environment = {**os.environ, "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}
    done = subprocess.run(
        [program, *arguments], cwd=where, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in ends:
        raise ScanError(f"{program.name} ended with {done.returncode}: {(done.stderr or done.stdout)[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _relative(path: str) -> str:
    return os.path.relpath(ROOT / path, ROOT)


if __name__ == "__main__":
    sys.exit(main())
