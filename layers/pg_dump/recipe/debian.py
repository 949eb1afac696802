"""Debian 12's apt without root: on this host, or in a container where the host is something else."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .model import RecipeError, say

IMAGE = "debian:12"
ENGINES = ("docker", "podman")

# The container runs as root (rootless engines have no other user that may write to the mount): hand the files back.
_RUN_AND_GIVE_BACK = '"$@"; status=$?; chown -R --reference="$0" "$0"; exit $status'

# Everything apt writes stays below {state}; sources, keys and proxies are the host's own. It is read with -c, that is
# after the host's configuration, so that #clear drops the hooks of the host's package manager. Debian's images turn the
# binary caches off, which makes every call a second slower.
_CONFIGURATION = """\
#clear APT::Architectures;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; "arm64"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::State "{state}/state";
Dir::State::status "{state}/status";
Dir::Cache "{state}/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::preferences "{state}/preferences";
Dir::Etc::preferencesparts "{state}/no-preferences.d";
"""

# Only Debian 12 itself: a third-party source of the host must not slip a package in.
_PREFERENCES = """\
Package: *
Pin: release o=Debian, n=/^bookworm(-security|-updates)?$/
Pin-Priority: 900

Package: *
Pin: release *
Pin-Priority: -1
"""


@dataclass(frozen=True)
class Offer:
    """One version of a package in apt's signed indexes."""

    name: str
    architecture: str
    version: str
    sha256: str


def is_debian_12(os_release: Path) -> bool:
    """Return whether `os_release` (normally /etc/os-release) describes Debian 12, and apt is installed."""
    if not os_release.is_file() or shutil.which("apt-get") is None:
        return False
    lines = os_release.read_text(encoding="utf-8").splitlines()
    values = {key: value.strip().strip("\"'") for key, _, value in (line.partition("=") for line in lines)}
    return values.get("ID") == "debian" and values.get("VERSION_ID") == "12"


def find_engine() -> str:
    """Return the path of the first container engine that answers.

    Raises
    ------
    RecipeError
        Neither engine is installed and running.
    """
    for engine in ENGINES:
        path = shutil.which(engine)
        if path is not None and subprocess.run([path, "version"], capture_output=True, check=False).returncode == 0:
            return path
    raise RecipeError(
        "the Debian packages of this layer cannot be fetched here.\n"
        "  Why: this host is not Debian 12 with apt, and neither docker nor podman is installed and running.\n"
        "  What to do: start one of them (the recipe then uses the image debian:12), or build on Debian 12, or copy a\n"
        "  filled download cache of another machine to $COFFRE_CACHE_DIR."
    )


def container_command(engine: str, mount: Path, directory: Path, command: Sequence[str]) -> list[str]:
    """Wrap `command` to run in Debian 12, with `mount` at its own path and in `directory`, which lies below it."""
    proxies = [name for name in os.environ if name.lower() in ("http_proxy", "https_proxy", "no_proxy")]
    return [
        *(engine, "run", "--rm", "--security-opt", "label=disable"),
        *(part for name in proxies for part in ("--env", name)),
        *("--volume", f"{mount}:{mount}", "--workdir", str(directory), IMAGE),
        *("sh", "-c", _RUN_AND_GIVE_BACK, str(mount), *command),
    ]


@dataclass(frozen=True)
class Apt:
    """apt with a private state directory, for amd64 and arm64 alike; the host's own package state is not touched."""

    state: Path
    engine: str | None

    def offers(self, packages: Sequence[str], *, newest_only: bool = False) -> list[Offer]:
        """Return every version of `packages` (``NAME:ARCH``), or only the newest one of Debian 12 for each."""
        options = ["--no-all-versions"] if newest_only else []
        result = self._run(["apt-cache", *options, "show", *packages], self.state)
        return list(_parse_offers(result.stdout))

    def is_newer(self, version: str, than: str) -> bool:
        return self._run(["dpkg", "--compare-versions", version, "gt", than], self.state).returncode == 0

    def download(self, offers: Sequence[Offer], directory: Path) -> None:
        """Fetch packages into `directory`, which lies below the state directory's parent."""
        wanted = [f"{offer.name}:{offer.architecture}={offer.version}" for offer in offers]
        result = self._run(["apt-get", "-q", "download", *wanted], directory)
        if result.returncode != 0:
            raise RecipeError(f"apt could not download {', '.join(wanted)}:\n{_tail(result)}")

    def refresh(self) -> None:
        """Read the indexes again; without network, continue with those of an earlier build."""
        result = self._run(["apt-get", "-q", "update"], self.state)
        if result.returncode == 0:
            return
        if not list((self.state / "state/lists").glob("*Packages*")):
            raise RecipeError(f"apt could not read its indexes, and none are cached:\n{_tail(result)}")
        say(f"WARNING: apt could not refresh every index; continuing with the existing ones.\n{_tail(result)}")

    def _run(self, command: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
        program, *arguments = command
        if program.startswith("apt"):
            arguments = ["-c", str(self.state / "apt.conf"), *arguments]
        if self.engine is None:
            call = [shutil.which(program) or program, *arguments]
        else:
            call = container_command(self.engine, self.state.parent, directory, [program, *arguments])
        env = os.environ | {"LC_ALL": "C"}
        return subprocess.run(call, cwd=directory, env=env, capture_output=True, text=True, check=False)


def open_apt(state: Path, os_release: Path) -> Apt:
    """Return an apt with fresh indexes whose private files live in `state`.

    Raises
    ------
    RecipeError
        The host is not Debian 12 and has no container engine, or no index can be read.
    """
    engine = None
    if not is_debian_12(os_release):
        engine = find_engine()
        say(f"this host is not Debian 12: apt runs in a {IMAGE} container ({Path(engine).name}).")
    for directory in ("state/lists/partial", "cache/archives/partial", "no-preferences.d"):
        (state / directory).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "preferences").write_text(_PREFERENCES, encoding="utf-8")
    (state / "apt.conf").write_text(_CONFIGURATION.format(state=state), encoding="utf-8")
    apt = Apt(state, engine)
    apt.refresh()
    return apt


def _parse_offers(output: str) -> Iterator[Offer]:
    for stanza in output.split("\n\n"):
        values = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[0] != " ")
        if {"Package", "Architecture", "Version", "SHA256"} <= values.keys():
            yield Offer(values["Package"], values["Architecture"], values["Version"], values["SHA256"])


def _tail(result: subprocess.CompletedProcess[str]) -> str:
    lines = (result.stdout + result.stderr).strip().splitlines()
    return "\n".join(f"  {line}" for line in lines[-8:])
