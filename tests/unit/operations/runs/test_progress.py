"""The meter of a run, which many threads add to."""

from concurrent.futures import ThreadPoolExecutor

from coffre.operations.runs.progress import Meter


def test_a_meter_counts_what_many_threads_add() -> None:
    meter = Meter()
    meter.begin("tables", total_bytes=4000, total_tables=4000)

    with ThreadPoolExecutor(8) as pool:
        for _ in range(4000):
            pool.submit(meter.add, size_bytes=1, tables=1)

    assert (meter.read().done_bytes, meter.read().done_tables) == (4000, 4000)
    meter.begin("seal")
    assert meter.read().phase == "seal"
    assert (meter.read().done_bytes, meter.read().total_bytes) == (4000, 4000)
