"""The watch: it beats while a run works, and ends a run that must not go on."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from coffre.model.backup import Progress
from coffre.model.errors import CatalogError, CoffreError, DeadlineError, DumpError, LockLostError
from coffre.operations.runs import heartbeat
from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS, RECORDING_SECONDS, Watch
from coffre.operations.runs.progress import Meter

# Long enough for the slowest machine; a test that works never waits for it.
PATIENCE = 60


def watch(
    beat: Callable[[Progress], None] = lambda _: None,
    *,
    meter: Meter | None = None,
    remaining: Callable[[], float] = lambda: 900.0,
    stop: Callable[[], None] = lambda: None,
    silent_seconds: float = 30.0,
) -> Watch:
    return Watch(
        meter or Meter(),
        beat=beat,
        remaining_seconds=remaining,
        stop=stop,
        beat_seconds=0.001,
        silent_seconds=silent_seconds,
    )


class Work:
    """A run that works until somebody stops it."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def __call__(self) -> None:
        assert self.stopped.wait(PATIENCE)
        raise DumpError("The program was killed.", code="TOOL_KILLED")


def run(work: Work, watch: Watch) -> None:
    with watch:
        work()


def test_the_progress_of_the_moment_is_reported() -> None:
    seen: list[Progress] = []
    meter, enough = Meter(), threading.Event()

    def beat(progress: Progress) -> None:
        seen.append(progress)
        if progress.done_tables == 2:
            enough.set()

    with watch(beat, meter=meter):
        meter.begin("tables", total_bytes=100, total_tables=3)
        meter.add(size_bytes=10, tables=2, current="public.t")
        assert enough.wait(PATIENCE)

    assert seen[-1] == Progress(
        phase="tables", done_bytes=10, total_bytes=100, done_tables=2, total_tables=3, current="public.t"
    )


@pytest.mark.parametrize("error", [LockLostError("Taken over."), ValueError("a defect")])
def test_a_beat_that_is_refused_stops_the_run_and_is_what_is_raised(error: Exception) -> None:
    work = Work()

    def beat(_: Progress) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run(work, watch(beat, stop=work.stopped.set))

    assert caught.value is error
    assert isinstance(error.__cause__, DumpError)


def test_a_catalog_that_is_silent_for_a_while_does_not_stop_the_run() -> None:
    beats: list[int] = []
    heard = threading.Event()

    def beat(_: Progress) -> None:
        beats.append(len(beats))
        if len(beats) % 6:  # five times in a row nobody answers
            raise CatalogError("No answer.")
        if len(beats) >= 18:
            heard.set()

    def stop() -> None:
        raise AssertionError

    with watch(beat, stop=stop):
        assert heard.wait(PATIENCE)


def test_a_catalog_that_stays_silent_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a clock that moves with each beat: the third one comes 30 seconds after the last word of the catalog
    work, clock = Work(), SimpleNamespace(now=0.0)
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def beat(_: Progress) -> None:
        clock.now += 10.0
        raise CatalogError("No answer.")

    with pytest.raises(CatalogError, match="No answer"):
        run(work, watch(beat, stop=work.stopped.set))

    assert clock.now >= 30.0


def test_a_catalog_that_keeps_a_beat_waiting_stops_the_run_by_the_clock() -> None:
    """The number of beats says nothing about how long nobody has heard of the run: one can take for ever."""
    work = Work()

    def beat(_: Progress) -> None:
        assert work.stopped.wait(PATIENCE)

    with pytest.raises(CatalogError) as caught:
        run(work, watch(beat, stop=work.stopped.set, silent_seconds=0.2))

    assert caught.value.code == "CATALOG_UNAVAILABLE"


def test_a_catalog_that_keeps_a_beat_waiting_does_not_hide_the_deadline() -> None:
    work, asked = Work(), threading.Event()

    def beat(_: Progress) -> None:
        asked.set()
        assert work.stopped.wait(PATIENCE)

    with pytest.raises(DeadlineError):
        run(work, watch(beat, remaining=lambda: 10.0 if asked.is_set() else 900.0, stop=work.stopped.set))


def test_work_that_does_not_end_is_left_behind_in_time_to_record_it() -> None:
    # Given work that goes on whatever is done to stop it, and time that runs out
    begun, released = threading.Event(), threading.Event()
    left = [900.0]

    def work() -> None:
        begun.set()
        left[0] = DEADLINE_RESERVE_SECONDS
        assert released.wait(PATIENCE)

    def stop() -> None:
        left[0] = RECORDING_SECONDS

    watching = watch(remaining=lambda: left[0], stop=stop)
    with pytest.raises(DeadlineError) as caught:
        watching.run(work)
    released.set()

    assert begun.is_set()
    assert watching.has_left
    assert "left behind" in " ".join(caught.value.__notes__)


def test_what_the_work_returns_or_raises_is_what_its_run_does() -> None:
    def fail() -> None:
        raise DumpError("It failed.")

    assert watch().run(lambda: 42) == 42
    with pytest.raises(DumpError):
        watch().run(fail)


def test_a_deadline_stops_the_run_in_time_to_say_so() -> None:
    work, meter = Work(), Meter()
    left = iter([900.0, 900.0, 900.0])

    with pytest.raises(DeadlineError) as caught:
        run(work, watch(meter=meter, remaining=lambda: next(left, DEADLINE_RESERVE_SECONDS), stop=work.stopped.set))

    assert caught.value.code == "DEADLINE"
    assert "phase: starting" in (caught.value.detail or "")
    assert "timeout" in (caught.value.hint or "")


def test_a_run_without_enough_time_does_not_even_start() -> None:
    started: list[int] = []

    with pytest.raises(DeadlineError), watch(remaining=lambda: DEADLINE_RESERVE_SECONDS):
        started.append(1)

    assert started == []


def test_a_check_raises_why_the_run_must_stop() -> None:
    left = [900.0]
    watching = watch(remaining=lambda: left[0])

    watching.check()
    left[0] = 5.0
    with pytest.raises(DeadlineError) as first:
        watching.check()
    left[0] = 900.0
    with pytest.raises(DeadlineError) as again:
        watching.check()

    assert first.value is again.value


def test_work_that_came_to_its_end_is_done_whatever_the_watch_found() -> None:
    # Given a watch that finds a reason, and work that ends well in spite of it: its backup is committed
    found = threading.Event()

    def beat(_: Progress) -> None:
        raise LockLostError("Taken over.")

    with watch(beat, stop=found.set) as watching:
        assert found.wait(PATIENCE)

    assert isinstance(watching.reason, LockLostError)


def test_an_error_of_the_work_itself_is_what_is_raised() -> None:
    def fail() -> None:
        with watch():
            raise DumpError("It failed.")

    with pytest.raises(CoffreError) as caught:
        fail()

    assert caught.value.code == "DUMP_FAILED"


def test_the_thread_ends_with_the_run() -> None:
    before = threading.active_count()

    with watch():
        pass

    assert threading.active_count() == before
