"""Programs that are not ours, and what of their calls can be checked without them.

To let pages call another program, write a check for it here and name it in `CHECKS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

import botocore.session
from botocore.model import Shape, StructureShape
from tests.template.rendering import read_template
from tests.unit.cli.docs.pages import ROOT
from tests.unit.cli.docs.shell import Call

type Check = Callable[[Call], Iterator[str]]

# Of `aws` itself, whatever the service: https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-options.html
_OF_AWS: Final = frozenset({"--output", "--query", "--region", "--profile", "--endpoint-url", "--no-cli-pager"})
# Commands of `aws` that are not calls of an API.
_AWS_EXTRAS: Final = {
    ("s3", "sync"): {"--exclude", "--include", "--delete", "--dryrun", "--size-only"},
    ("s3", "cp"): {"--recursive", "--exclude", "--include"},
    ("s3", "ls"): {"--recursive"},
    ("s3", "rm"): {"--recursive"},
    ("s3", "rb"): {"--force"},
    ("configure", None): set(),
}
_SAM: Final = {
    "build": {"--parameter-overrides", "--parallel", "--cached"},
    "deploy": {"--guided", "--stack-name", "--parameter-overrides", "--capabilities", "--resolve-s3", "--config-env"},
    "delete": {"--stack-name", "--no-prompts"},
    "logs": {"--stack-name", "--name", "--tail"},
}
_RELEASES: Final = re.compile(r"(dist/)?coffre-(\*|VERSION|[0-9.]+)(-py3-none-any)?\.whl")


def _make(call: Call) -> Iterator[str]:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for word in call.arguments:
        if "=" not in word and word not in targets:
            yield f"the Makefile has no target {word}"


def _tests(call: Call) -> Iterator[str]:
    for word in call.arguments:
        if word.startswith("tests/") and not (ROOT / word.partition("::")[0]).exists():
            yield f"{word} does not exist"


def _sam(call: Call) -> Iterator[str]:
    command, *rest = call.arguments
    if command not in _SAM:
        yield f"sam {command} is not known here: {', '.join(_SAM)}"
        return
    parameters = read_template()["Parameters"]
    option = ""
    for word in rest:
        if word.startswith("--"):
            option = word
            if word not in _SAM[command]:
                yield f"sam {command} has no option {word} that is known here"
        elif option == "--parameter-overrides" and (name := word.partition("=")[0]) not in parameters:
            yield f"template.yaml has no parameter {name}"


def _aws(call: Call) -> Iterator[str]:
    service, operation = (*[word for word in call.arguments if not word.startswith("-")], "", "")[:2]
    options = {word.partition("=")[0] for word in call.arguments if word.startswith("--")}
    known = _AWS_EXTRAS.get((service, operation), _AWS_EXTRAS.get((service, None)))
    if known is None:
        known = _input_options(service, operation)
    if known is None:
        yield f"aws has no command {service} {operation}"
        return
    for option in sorted(options - known - _OF_AWS):
        yield f"aws {service} {operation} has no option {option}"
    for word in call.arguments:
        if word.startswith("file://") and word.endswith((".sql", ".yaml")) and not (ROOT / word[7:]).exists():
            yield f"{word} does not exist"


@cache
def _input_options(service: str, operation: str) -> set[str] | None:
    """Return the options of a call, from the description of the service; None without such a call."""
    service = {"s3api": "s3", "configservice": "config"}.get(service, service)
    session: Any = botocore.session.get_session()
    if service not in session.get_available_services():
        return None
    model = session.get_service_model(service)
    found = next((name for name in model.operation_names if _dashed(name) == operation), None)
    if found is None:
        return None
    described = model.operation_model(found)
    names = [name for name, shape in _members(described.input_shape) if not _is_output(shape)]
    options = {f"--{_dashed(name)}" for name in names}
    return options | {f"--no-{name[2:]}" for name in options} | {"--cli-input-json"}


def _members(shape: Shape | None) -> Iterator[tuple[str, Shape]]:
    if isinstance(shape, StructureShape):
        yield from shape.members.items()


def _is_output(shape: Shape) -> bool:
    return shape.type_name == "blob" and bool(shape.serialization.get("streamingoutput"))


def _dashed(name: str) -> str:
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1-\2", name)
    return re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1-\2", words).lower()


def _psql(call: Call) -> Iterator[str]:
    """Scripts exist, and use the variables that they get."""
    names = [name for at, name in enumerate(call.arguments) if at and call.arguments[at - 1] in ("-f", "--file")]
    names += [word.partition("=")[2] for word in call.arguments if word.startswith("--file=")]
    ours = [name for name in names if name.startswith("docs/")]
    for name in ours:
        if not (ROOT / name).exists():
            yield f"{name} does not exist"
    scripts = "\n".join((ROOT / name).read_text() for name in ours if (ROOT / name).exists())
    for at, word in enumerate(call.arguments):
        if scripts and at and call.arguments[at - 1] == "-v" and f":{word.partition('=')[0]}" not in _unquoted(scripts):
            yield f"{', '.join(ours)} does not use the variable {word.partition('=')[0]}"


def _unquoted(script: str) -> str:
    return re.sub(r":['\"{?]+", ":", script)


def _python(call: Call) -> Iterator[str]:
    """The script of the recovery kit knows the options that it gets."""
    script, *rest = call.arguments
    if script != "restore.py":
        yield f"{script} is not known here"
        return
    text = (ROOT / "cli/coffre_cli/commands/keys/kit/restore.py").read_text()
    for word in rest:
        if word.startswith("--") and f'"{word}"' not in text:
            yield f"restore.py has no option {word}"


def _installer(call: Call) -> Iterator[str]:
    """`uv tool install` and `pipx install` install our wheel."""
    commands = {"uv": ("tool", "install"), "pipx": ("install",)}
    words = [word for word in call.arguments if not word.startswith("-")]
    expected = commands[call.program]
    if tuple(words[: len(expected)]) not in {expected, (*expected[:-1], "upgrade"), (*expected[:-1], "uninstall")}:
        yield f"{call} is not known here"
    for word in words[len(expected) :]:
        if word != "coffre" and not _RELEASES.fullmatch(word):
            yield f"{word} is not what `make release` builds"


def _options(*known: str) -> Check:
    """Return a check of a program's options that pages may use: what they mean is looked up when one is added."""

    def check(call: Call) -> Iterator[str]:
        for word in call.arguments:
            if word.startswith("-") and word != "-" and word.partition("=")[0] not in known:
                yield f"{call.program} {word} is not among the options that are known here"

    return check


CHECKS: Final[Mapping[str, Check]] = {
    "make": _make,
    ".venv/bin/pytest": _tests,
    "sam": _sam,
    "aws": _aws,
    "psql": _psql,
    "python3": _python,
    "uv": _installer,
    "pipx": _installer,
    "pg_restore": _options("--exit-on-error", "--dbname", "--list"),
    "age": _options("--decrypt", "--identity", "--encrypt", "--recipient"),
    "jq": _options("-r", "-e"),
    "zstd": _options("-dc"),
    "tar": _options("-x", "-C"),
    "ssh": _options(),
    "cat": _options(),
    "cd": _options(),
    "export": _options(),
    "echo": _options(),
    "eval": _options(),
    "sha256sum": _options("--check", "-c", "--ignore-missing"),
    "git": _options(),
    "gh": _options(),
    "curl": _options("-O", "-o", "-fsSLO", "-L", "-fsSL"),
    "source": _options(),
}
