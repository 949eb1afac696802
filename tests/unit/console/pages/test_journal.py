"""The page and the API say of a journal what `coffre journal list TARGET` says."""

from tests.console_client import Client
from tests.console_journal import journal_with_gap
from tests.console_scene import ConsoleScene
from tests.unit.console.pages.markup import Markup


def test_the_stretches_of_a_journal_are_shown_with_what_is_between_them(scene: ConsoleScene, client: Client) -> None:
    scene.document["targets"][0]["journal"] = {}
    before, behind = journal_with_gap(scene)

    found = client.get("/api/v1/targets/shop/journal").json
    newer, older = found["stretches"]
    assert (newer["why"], newer["bases"]) == ("open", [behind.id])
    assert (older["why"], older["bases"]) == ("the segment 3 is missing", [before.id])
    assert (older["restorable_from"], older["restorable_to"]) == ("2026-11-13T17:00:00Z", "2026-11-15T05:00:00Z")
    assert ["the segment 3 is missing" in one for one in found["damage"]] == [True]

    for path in ("/", "/targets"):
        assert "/journal?target=shop" in Markup(client.get(path).body).links
    page = Markup(client.get("/journal?target=shop").body)
    assert "coffre journal list shop" in page.commands
    assert "FromToEnd" in page.text
    assert "2026-11-13 17:00 UTC2026-11-15 05:00 UTCthe segment 3 is missing" in page.text
    assert page.faults == []


def test_a_target_without_a_journal_has_no_moment_and_an_unknown_one_no_page(client: Client) -> None:
    assert client.get("/api/v1/targets/billing/journal").json == {
        "target": "billing",
        "stored_up_to": None,
        "stretches": [],
        "damage": [],
    }
    assert "No moment can be restored yet." in Markup(client.get("/journal?target=billing").body).text
    assert [client.get(f"/journal?target={name}").status for name in ("other", "")] == [404, 404]
    assert client.get("/api/v1/targets/other/journal").status == 404
