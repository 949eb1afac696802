"""Restore points in the configuration: what belongs together has to exist, once, with one schedule."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from coffre.model.configuration import Configuration, parse_configuration
from coffre.model.errors import ConfigurationError, TargetUnknownError
from coffre.vault.codec import new_identity, public_key

DOCUMENT: dict[str, Any] = {
    "encryption": "age",
    "recipients": [public_key(new_identity())],
    "targets": [
        {"name": "shop", "secret": "coffre/database/shop"},
        {"name": "server", "secret": "coffre/database/server", "databases": "all"},
        {"name": "files", "kind": "bucket", "buckets": [{"name": "photos"}]},
        {"name": "more", "kind": "bucket", "buckets": [{"name": "pdfs"}]},
    ],
    "points": [{"name": "all", "database": "shop", "buckets": ["files", "more"], "objects": {"type": "supabase"}}],
}
HOURLY = {"expression": "cron(0 * * * ? *)"}


def parsed(points: list[dict[str, Any]] | None = None, **schedules: dict[str, str]) -> Configuration:
    document = copy.deepcopy(DOCUMENT)
    if points is not None:
        document["points"] = points
    for target in document["targets"]:
        if target["name"] in schedules:
            target["schedule"] = schedules[target["name"]]
    return parse_configuration(json.dumps(document), where="test")


def test_a_point_is_found_by_its_name_and_by_its_targets() -> None:
    configuration = parsed()

    assert configuration.point("all").targets == ("shop", "files", "more")
    assert configuration.point_of("more") == configuration.point("all")
    assert configuration.point_of("server") is None
    with pytest.raises(TargetUnknownError, match='no restore point "other"'):
        configuration.point("other")


def point(**fields: Any) -> dict[str, Any]:
    return {"name": "all", "database": "shop", "buckets": ["files"], **fields}


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([point(database="none")], 'the point "all" needs a database: no target none is one'),
        ([point(database="server")], "no target server is one"),
        ([point(database="files", buckets=["more"])], "no target files is one"),
        ([point(buckets=["files", "none", "shop2"])], "names no target of buckets: none, shop2"),
        ([point(buckets=["files", "files"])], "a point names each target once; named twice: files"),
        ([point(buckets=[])], "at least 1 item"),
        ([point(), point(database="server")], "each point needs its own name; used twice: all"),
        ([point(), point(name="other", buckets=["more"])], "belongs to one point at most; used twice: shop"),
        ([point(listing="rows")], 'listing "rows" needs objects'),
        ([point(objects={"type": "else"})], "points[0].objects"),
        ([point(objects={"type": "query"})], "points[0].objects"),
    ],
)
def test_what_does_not_belong_together_is_refused(points: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parsed(points)
    assert said in (refused.value.detail or "")


def test_all_targets_of_a_point_have_the_same_schedule() -> None:
    with pytest.raises(ConfigurationError) as refused:
        parsed(shop=HOURLY, files=HOURLY)
    assert "is taken with the schedule of shop: give more the same schedule" in (refused.value.detail or "")

    assert parsed(shop=HOURLY, files=HOURLY, more=HOURLY).point_of("files") is not None
