"""Servers and binaries that tests of every depth share. Each xdist worker has its own."""

import gc
import itertools
import logging
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from tests.contract.weed import Weed
from tests.quick_answers import answer_one_at_a_time, answer_quickly
from tests.quick_calls import call_without_wire
from tests.quick_clients import make_clients_quickly
from tests.quick_collection import compile_share
from tests.quick_command import build_commands_once
from tests.quick_dynamodb import answer_without_web, read_expressions_once
from tests.quick_initdb import copy_clusters
from tests.quick_servers import directories_in_memory, keep_servers_in_memory
from tests.quick_wire import take_short_ways
from tests.shared_server import own_databases, without_leftovers
from tests.web import Web, web_server

from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain

# How long an example takes says nothing on a machine that does other things too, and chance decides no run: the same
# examples are tried each time (`make fuzz` tries others).
settings.register_profile("coffre", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("coffre")
# Hypothesis mixes in constants of the modules that are imported by then: those depend on the tests that came before.
pytest.MonkeyPatch().setattr(providers, "is_local_module_file", lambda _: False)

_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose where tests have their directories, before pytest does."""
    places = ExitStack()
    places.enter_context(directories_in_memory(config))
    config.add_cleanup(places.close)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect no garbage while all modules are imported: nearly all that is made then stays."""
    gc.disable()
    try:
        compile_share(session.config)
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Keep what was imported out of the garbage collector's sight, and call it seldom: it took a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what asks for more than the usual."""
    parser.addoption("--lost-rows", type=int, default=2, help="drill so many backups that an insider robbed of a row")


@pytest.fixture
def lost_rows(request: pytest.FixtureRequest) -> int:
    """How many backups are robbed of a row and drilled."""
    count: int = request.config.getoption("--lost-rows")
    return count


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """Let every test have a quicker AWS, command and server; a fixture for it would be looked up for each of them."""
    if session.config.getoption("tx", None) and not hasattr(session.config, "workerinput"):  # workers run them
        return (yield)
    with quick_aws(), quick_command(), servers_in_memory():
        return (yield)


@contextmanager
def quick_aws() -> Iterator[None]:
    """Make clients of AWS, and let moto answer them, in a fraction of the time, and one request after another."""
    with pytest.MonkeyPatch.context() as patch:
        make_clients_quickly(patch)
        answer_quickly(patch)
        read_expressions_once(patch)
        take_short_ways(patch)
        answer_without_web(patch)
        lock = threading.RLock()
        call_without_wire(patch, lock)
        answer_one_at_a_time(patch, lock)  # last, around them
        yield


@contextmanager
def quick_command() -> Iterator[None]:
    """Build each command of `coffre` once."""
    with pytest.MonkeyPatch.context() as patch:
        build_commands_once(patch)
        yield


@contextmanager
def servers_in_memory() -> Iterator[None]:
    """Keep what servers write off the disk, and copy their first files."""
    with pytest.MonkeyPatch.context() as patch:
        keep_servers_in_memory(patch)
        with copy_clusters(patch):
            yield


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Forget the loggers that a test's functions made: they write to the output of that test, which is closed."""
    known = logging.Logger.manager.loggerDict
    for name in [name for name, logger in known.items() if hasattr(logger, "init")]:  # the mark of powertools
        del known[name]


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """The checkout's tools, made on first use."""
    return Toolchain()


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server on this machine that keeps what it is sent."""
    with web_server() as server:
        yield server


@pytest.fixture(scope="session")
def copydata(toolchain: Toolchain) -> None:
    """The loop in C, built where the package looks for it."""
    toolchain.copydata()


@pytest.fixture(scope="session")
def postgresql_home(toolchain: Toolchain) -> Path:
    """A PostgreSQL 18 with `bin/{pg_dump,pg_restore,psql,pg_dumpall}` and `lib`, like the layer's."""
    return toolchain.postgresql(18)


@pytest.fixture(scope="session")
def weed(toolchain: Toolchain) -> Iterator[Weed]:
    """A SeaweedFS server without buckets: a real S3 store that is not AWS."""
    with Weed(toolchain.weed()) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A PostgreSQL 18 that trusts everyone on this machine."""
    with PostgresServer(toolchain.embedded_postgresql()) as server, without_leftovers(server):
        yield server


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a database that holds nothing; it goes afterwards, with the roles that were made meanwhile."""
    name = f"empty_{next(_numbers)}"
    with own_databases(postgres_server, name):
        yield postgres_server.dsn(name)


@pytest.fixture(scope="session")
def server_of_major(toolchain: Toolchain) -> Iterator[Callable[[int], PostgresServer]]:
    """Return a server of a PostgreSQL major (12 to 18), started on first demand."""
    servers: dict[int, PostgresServer] = {}
    with ExitStack() as running:

        def server(major: int) -> PostgresServer:
            if major not in servers:
                servers[major] = running.enter_context(PostgresServer(toolchain.postgresql(major)))
                running.enter_context(without_leftovers(servers[major]))
            return servers[major]

        yield server


@pytest.fixture(scope="session")
def tls_server(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A PostgreSQL 18 that takes TLS connections only and asks for a password (SCRAM)."""
    options = ServerOptions(tls=True, password="p@ss/word with:odd%signs")
    with PostgresServer(toolchain.postgresql(18), options) as server, without_leftovers(server):
        yield server
