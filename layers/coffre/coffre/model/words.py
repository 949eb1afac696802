"""Numbers, sizes and durations as people read them: one unit for each, in the command, reports and alerts."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Return `1 row`, `2,000 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def size(count: float | None) -> str:
    """Return a number of bytes in decimal units: `850 B`, `1.5 MB`; `-` for None."""
    if count is None:
        return "-"
    if count < 999.5:
        return f"{count:.0f} B"
    value, unit = count / 1000, "kB"
    for larger in ("MB", "GB", "TB", "PB"):
        if value < 999.95:  # what would be shown as 1000.0
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"


def duration(milliseconds: int | None) -> str:
    """Return how long something took: `850 ms`, `12.3 s`, `4 min 05 s`, `2 h 03 min`; `-` for None."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 59_950:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def span(seconds: float) -> str:
    """Return a duration with its largest two units: `1 day 4 h`, `2 h 5 min`, `3 min 20 s`."""
    whole = round(seconds)
    days, hours, minutes, rest = whole // 86400, whole // 3600 % 24, whole // 60 % 60, whole % 60
    units = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next((index for index, (count, _) in enumerate(units) if count), 3)
    shown = [f"{count} {unit}" for count, unit in units[first : first + 2] if count]
    return " ".join(shown) or "0 s"
