"""The layer `coffre`: built as `sam build` builds it, then imported by a bare interpreter that finds nothing else."""

from __future__ import annotations

import ast
import gzip
import json
import os
import platform
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.regions import EndpointResolver
from layers.pg_dump.recipe import gate
from layers.pg_dump.recipe.model import ARCHITECTURES
from tests.e2e.conftest import copied

from coffre.postgres.source.copy_framing import LIBRARY
from coffre.vault import resumable_hash
from coffre_local.deployment import Deployment

# The first test that needs one builds all layers with SAM.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers" / "coffre" / "coffre"
# pynamodb names its service where we cannot see it.
HIDDEN_SERVICES = {"dynamodb"}
# AWS: "the total unzipped size of the function and all layers can't exceed 250 MB" (Lambda quotas, 2026).
UNZIPPED_LIMIT_BYTES = 250 * 1024 * 1024
THIS_MACHINE = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
ELF_MACHINES = {"x86_64": 62, "arm64": 183}
# PEP 552: a hash instead of a time, which nobody checks.
UNCHECKED_HASH = 0b01

ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "COFFRE_CONFIGURATION": "/coffre/safe/configuration",
    "COFFRE_VAULT_BUCKET": "vault",
    "COFFRE_CATALOG_TABLE": "catalog",
    "COFFRE_ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:111122223333:alerts",
    # Where nothing can be written, as below /opt.
    "PYTHONDONTWRITEBYTECODE": "1",
}

# Notes what is compiled instead of read from byte code.
COUNT_COMPILED = """
import importlib._bootstrap_external as loading
compiled, original = [], loading.SourceLoader.source_to_code
def count(self, data, path, *rest, **named):
    compiled.append(str(path))
    return original(self, data, path, *rest, **named)
loading.SourceLoader.source_to_code = count
"""
IMPORT_HANDLER = """
import importlib, json, sys
importlib.import_module("handler")
files = [module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]
print(json.dumps({"compiled": compiled, "files": files}))
"""
MAKE_CLIENTS = """
import json, sys
import botocore.session
made = {}
for service in json.loads(sys.argv[1]):
    client = botocore.session.get_session().create_client(service)
    made[service] = len(client.meta.service_model.operation_names)
    client.close()
print(json.dumps(made))
"""
MAKE_FUNCTIONS = """
import json
import os
from coffre.runtime.backup_database_function import BackupDatabaseFunction
from coffre.runtime.restore_function import RestoreFunction
made = [function.make(os.environ) for function in (BackupDatabaseFunction, RestoreFunction)]
for function in made:
    function.services.edge, function.services.vault, function.services.ssm, function.services.secrets
print(json.dumps([type(function).__name__ for function in made]))
"""

TAKE_ROWS = """
import json
from coffre.postgres.source.copy_framing import rows_of_a_stream
rows, room = rows_of_a_stream(), bytearray(8)
moved = rows.take(bytearray(b"d\\0\\0\\0\\x06x\\n"), 0, 7, memoryview(room))
print(json.dumps([type(rows).__name__, *moved, rows.ended, room.decode()]))
"""


# Importing apprise takes seconds and imports what it sends with: a deployment with Slack alone never pays that.
SEND = """
import json, sys
from coffre.alerts import slack
assert not [name for name in sys.modules if name.startswith("apprise")]
from coffre.alerts import chat
from coffre.alerts.message import Message
from coffre.model.errors import CoffreError
message = Message(kind="TEST", severity="info", target="-", state="new", subject="s", text="t")
codes = []
for url in ("json://127.0.0.1:1/x", "discord://webhook_id/webhook_token_x", "nonsense://x"):
    try:
        chat.send(url, message, [], place="line 1") if "discord" not in url else chat.apprise.Apprise().add(url)
    except CoffreError as error:
        codes.append(error.code)
files = [module.__file__ for module in sys.modules.values() if getattr(module, "__file__", None)]
print(json.dumps({"codes": codes, "compiled": compiled, "files": files}))
"""


@dataclass(frozen=True)
class Layer:
    directory: Path
    architecture: str

    @property
    def packages(self) -> Path:
        return self.directory / "python"

    def files(self, pattern: str) -> list[Path]:
        return sorted(path for path in self.directory.rglob(pattern) if path.is_file())

    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.files("*"))


def run_make(
    name: str, target: str, architecture: str, scratch: Path, output: Path
) -> subprocess.CompletedProcess[str]:
    """Run the Makefile that the template's ContextPath names, in a scratch copy of the sources."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "ARTIFACTS_DIR": str(output),
    }
    environment.pop("PYTHONPATH", None)
    makefile = ROOT / "layers" / name / architecture / "Makefile"
    command = [shutil.which("make") or "make", "--makefile", str(makefile), target]
    return subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, check=False)


def copy_of_sources(name: str, directory: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    return Path(shutil.copytree(ROOT / "layers" / name, directory / "scratch", ignore=ignored))


def build(name: str, target: str, architecture: str, directory: Path) -> Layer:
    """Copy the content directory away and build it, as SAM does."""
    output = directory / "layer"
    result = run_make(name, target, architecture, copy_of_sources(name, directory), output)
    assert result.returncode == 0, result.stdout + result.stderr
    return Layer(output, architecture)


def run_bare(program: str, path: list[Path], *arguments: str) -> Any:
    """Run a program by the interpreter below the virtual environment, without any site-packages."""
    paths = json.dumps([str(directory) for directory in path])
    command = [str(Path(sys.executable).resolve()), "-S", "-c", f"import sys\nsys.path[:0] = {paths}\n{program}"]
    result = subprocess.run(
        [*command, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False, cwd=path[0]
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def clients_of(source: Path) -> Iterator[str]:
    """Yield the first argument of every call that makes a client."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if name in {"create_client", "client", "_client"} and isinstance(first, ast.Constant):
                yield str(first.value)


def built_by_sam(name: str, architecture: str, directory: Path) -> Layer:
    """Return a layer as `sam build` has built it for this machine, once for all tests; build another machine's."""
    if architecture != THIS_MACHINE:
        return build(name, f"build-{name.title()}Layer", architecture, directory)
    with copied(directory) as checkout:
        return Layer(Deployment(directory, checkout=checkout.root).build() / f"{name.title()}Layer", architecture)


@pytest.fixture(scope="module")
def x86_64(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    return built_by_sam("coffre", "x86_64", tmp_path_factory.mktemp("x86_64"))


@pytest.fixture(scope="module")
def arm64(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    return built_by_sam("coffre", "arm64", tmp_path_factory.mktemp("arm64"))


@pytest.fixture(scope="module")
def client_layer(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    return build("pg_dump", "build-PostgresqlClientLayer", "x86_64", tmp_path_factory.mktemp("pg_dump"))


@pytest.fixture(scope="module")
def notify_layer(tmp_path_factory: pytest.TempPathFactory) -> Layer:
    return built_by_sam("notify", "x86_64", tmp_path_factory.mktemp("notify"))


@pytest.fixture(scope="module")
def services() -> list[str]:
    found = {service for source in PACKAGE.rglob("*.py") for service in clients_of(source)}
    assert {"s3", "ssm", "secretsmanager", "sns", "lambda", "events"} <= found
    return sorted(found | HIDDEN_SERVICES)


@pytest.mark.parametrize("function", ["backup_database", "restore", "rotate"])
def test_a_handler_needs_nothing_but_the_layer_and_compiles_nothing(x86_64: Layer, function: str) -> None:
    folder = ROOT / "functions" / function

    seen = run_bare(COUNT_COMPILED + IMPORT_HANDLER, [folder, x86_64.packages])

    assert seen["compiled"] == [str(folder / "handler.py")]
    library = Path(os.__file__).parent
    allowed = (folder, x86_64.packages, library)
    strangers = [file for file in seen["files"] if not any(Path(file).is_relative_to(place) for place in allowed)]
    assert strangers == []
    assert not [file for file in seen["files"] if Path(file).is_relative_to(library / "site-packages")]


def test_byte_code_is_there_for_every_module_and_needs_no_times(x86_64: Layer) -> None:
    for source in x86_64.files("*.py"):
        cached = source.parent / "__pycache__" / f"{source.stem}.cpython-313.pyc"
        assert cached.is_file(), source
        assert struct.unpack_from("<I", cached.read_bytes(), 4) == (UNCHECKED_HASH,), source


def test_every_client_of_the_package_can_be_made(x86_64: Layer, services: list[str]) -> None:
    operations = run_bare(MAKE_CLIENTS, [x86_64.packages], json.dumps(services))

    assert sorted(operations) == services
    assert min(operations.values()) > 0


def test_every_service_has_the_endpoint_that_botocore_knows_in_each_region(x86_64: Layer, services: list[str]) -> None:
    carried = x86_64.packages / "botocore" / "data"
    kept, full = (
        EndpointResolver(json.loads((data / "endpoints.json").read_text()))
        for data in (carried, Path(botocore.__file__).parent / "data")
    )
    descriptions = [json.loads(gzip.decompress(path.read_bytes())) for path in carried.glob("*/*/service-2.json.gz")]
    prefixes = {one["metadata"]["endpointPrefix"] for one in descriptions}
    assert prefixes >= {*services} - {"stepfunctions"} | {"states"}
    for region in ("eu-west-1", "us-east-1", "us-gov-west-1", "cn-north-1", "a-region-1"):
        for prefix in prefixes:
            assert kept.construct_endpoint(prefix, region) == full.construct_endpoint(prefix, region)


def test_the_descriptions_of_services_lack_their_texts_alone(x86_64: Layer, services: list[str]) -> None:
    def check(short: Any, full: Any) -> None:
        assert type(short) is type(full)
        if isinstance(full, dict):
            assert short.keys() == full.keys()  # botocore asks for the texts of some with every call
            for name, value in full.items():
                if name == "documentation" and isinstance(value, str):
                    assert short[name] == ""
                else:
                    check(short[name], value)
        elif isinstance(full, list):
            assert len(short) == len(full)
            for pair in zip(short, full, strict=True):
                check(*pair)
        else:
            assert short == full

    carried, own = x86_64.packages / "botocore" / "data", Path(botocore.__file__).parent / "data"
    for service in services:
        for path in carried.glob(f"{service}/*/service-2.json.gz"):
            full = own / path.relative_to(carried)
            check(*(json.loads(gzip.decompress(one.read_bytes())) for one in (path, full)))


def test_both_functions_can_be_put_together(x86_64: Layer) -> None:
    assert run_bare(MAKE_FUNCTIONS, [x86_64.packages]) == ["BackupDatabaseFunction", "RestoreFunction"]


def test_no_service_is_carried_that_nobody_uses(x86_64: Layer, services: list[str]) -> None:
    carried = {path.name for path in (x86_64.packages / "botocore" / "data").iterdir() if path.is_dir()}

    # sts: for credentials that a deployment may want to assume.
    assert carried == {*services, "sts"}


def test_only_what_runs_is_in_the_layer(x86_64: Layer) -> None:
    names = {path.name for path in x86_64.packages.iterdir()}

    assert {"coffre", "botocore", "pydantic", "psycopg2", "pynamodb", "pyrage"} <= names
    assert not {"boto3", "s3transfer", "pip", "setuptools", "pytest", "coffre_cli", "tests", "bin"} & names
    assert [path.name for path in x86_64.directory.iterdir()] == ["python"]


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_every_library_is_of_the_architecture_that_was_asked_for(
    request: pytest.FixtureRequest, architecture: str
) -> None:
    layer: Layer = request.getfixturevalue(architecture)
    libraries = [path for path in layer.files("*") if path.read_bytes()[:4] == b"\x7fELF"]

    machines = {path.name: struct.unpack_from("<H", path.read_bytes(), 18)[0] for path in libraries}
    assert set(machines.values()) == {ELF_MACHINES[architecture]}
    assert any(name.startswith("_psycopg.") for name in machines)


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_the_loop_in_c_is_there_and_needs_no_version_of_glibc(
    request: pytest.FixtureRequest, architecture: str
) -> None:
    layer: Layer = request.getfixturevalue(architecture)

    # The gate of the client layer: the architecture, glibc 2.34 at most, nothing that has to be carried along.
    report = gate.check(layer.packages / "coffre", ARCHITECTURES[architecture])

    assert report == gate.GateReport(elf_files=2, highest_glibc=(0,))


def test_the_functions_take_rows_by_the_loop_in_c(x86_64: Layer) -> None:
    assert run_bare(TAKE_ROWS, [x86_64.packages]) == ["CompiledRows", 7, 2, 1, "x\n" + "\0" * 6]


def test_two_builds_give_the_same_bytes(x86_64: Layer, copydata: None) -> None:
    for library in (LIBRARY, resumable_hash.LIBRARY):
        (built,) = x86_64.files(library.name)

        assert built.read_bytes() == library.read_bytes()


def test_a_loop_that_does_not_compile_stops_the_build(tmp_path: Path) -> None:
    scratch = copy_of_sources("coffre", tmp_path)
    with (scratch / "copydata" / "copydata.c").open("a") as source:
        source.write("static int unused;\n")

    result = run_make("coffre", "build-CoffreLayer", "x86_64", scratch, tmp_path / "layer")

    assert result.returncode != 0
    assert "copydata.c" in result.stderr
    assert "unused variable" in result.stderr


def test_both_architectures_carry_the_same_packages(x86_64: Layer, arm64: Layer) -> None:
    def packages(layer: Layer) -> set[str]:
        return {path.name for path in layer.packages.glob("*.dist-info")}

    assert packages(arm64) == packages(x86_64)


def test_the_layers_together_stay_far_below_what_lambda_takes(x86_64: Layer, arm64: Layer, client_layer: Layer) -> None:
    for layer in (x86_64, arm64):
        assert layer.size_bytes() + client_layer.size_bytes() < 0.4 * UNZIPPED_LIMIT_BYTES


def test_without_a_place_for_the_result_the_recipe_says_so() -> None:
    command = [shutil.which("make") or "make", "build-CoffreLayer"]
    environment = {name: value for name, value in os.environ.items() if name != "ARTIFACTS_DIR"}
    result = subprocess.run(
        command, cwd=ROOT / "layers" / "coffre", env=environment, capture_output=True, text=True, check=False
    )

    assert result.returncode != 0
    assert "ARTIFACTS_DIR is not set" in result.stderr


# --- the layer `notify`, beside it ---


def test_notify_needs_only_its_layers_and_apprise_only_when_it_sends(x86_64: Layer, notify_layer: Layer) -> None:
    folder, packages = ROOT / "functions" / "notify", [x86_64.packages, notify_layer.packages]

    seen = run_bare(COUNT_COMPILED + IMPORT_HANDLER.replace("print", "str") + SEND, [folder, *packages])

    assert seen["codes"] == ["CHAT_UNAVAILABLE", "ALERT_URL_MALFORMED"]
    assert seen["compiled"] == [str(folder / "handler.py")]
    allowed = (folder, *packages, Path(os.__file__).parent)
    assert [file for file in seen["files"] if not any(Path(file).is_relative_to(place) for place in allowed)] == []
    assert any(Path(file).is_relative_to(notify_layer.packages / "apprise") for file in seen["files"])


def test_the_layer_of_notify_is_small_and_repeats_nothing(x86_64: Layer, notify_layer: Layer) -> None:
    names = [{path.name for path in layer.packages.iterdir()} for layer in (x86_64, notify_layer)]

    assert names[0] & names[1] == set()
    assert notify_layer.size_bytes() < 25 * 1024 * 1024


def test_what_both_layers_pin_is_pinned_to_one_version() -> None:
    coffre, notify = (
        dict(
            re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "layers" / name / "requirements.txt").read_text(), re.MULTILINE)
        )
        for name in ("coffre", "notify")
    )
    both = coffre.keys() & notify.keys()

    assert "urllib3" in both
    assert {name: notify[name] for name in both} == {name: coffre[name] for name in both}


def test_the_layer_of_notify_can_be_built_for_arm64(tmp_path: Path) -> None:
    layer = built_by_sam("notify", "arm64", tmp_path)

    machines = {struct.unpack_from("<H", path.read_bytes(), 18)[0] for path in layer.files("*.so")}
    assert machines == {ELF_MACHINES["arm64"]}
