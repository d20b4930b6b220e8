"""The twelve tasks of an operator in Chromium: keys and clicks are counted; some also without JavaScript."""

from __future__ import annotations

import re

import pytest
from console_owners import ENDPOINT, attempt, endpoint, page, replay
from console_world import NOW
from fake_shop import FakeOrder
from playwright.async_api import expect

from console_browser.world import IN_CHROMIUM, Hands, World, come_to, path_of
from tests.browser import DESKTOP

pytestmark = IN_CHROMIUM


async def test_1_an_order_is_found_by_slash_number_enter(world: World, order: FakeOrder) -> None:
    async with world.tab() as tab:
        hands = Hands(tab)
        await hands.press("/")
        await hands.type(order.life.number.lower())
        await hands.press("Enter")
        await tab.wait_for_url(f"**{path_of(order)}")
        assert hands.done == ["/", order.life.number.lower(), "Enter"]


@pytest.mark.parametrize("scripted", [True, False])
async def test_2_why_it_is_stuck_and_who_ends_it_is_seen_without_a_click_or_scrolling(
    world: World, order: FakeOrder, scripted: bool
) -> None:
    await world.shop.hold(order)
    async with world.tab(path_of(order), java_script_enabled=scripted) as tab:
        for text in (
            "It waits for the release of its holds",
            "orders.edit",
            "Release each hold",
            "Since",
            "rule:fraud",
        ):
            box = await tab.locator("section.wait").get_by_text(text).first.bounding_box()
            assert box is not None and box["y"] >= 0 and box["y"] + box["height"] <= DESKTOP["height"], text


async def test_3_the_next_that_waits_is_approved_by_g_a_a_enter(world: World) -> None:
    for waiting in [one for one in world.shop.orders.values() if one.waiting == "approval"]:
        await world.shop.approve(waiting)
    order = await world.shop.add("NEXT")
    async with world.tab() as tab:
        hands = Hands(tab)
        await hands.press("g", "a")
        await come_to(tab, order)
        await hands.press("a")
        await expect(tab.get_by_role("dialog").get_by_role("button", name="Approve")).to_be_focused()
        await hands.press("Enter")
        await expect(tab.get_by_text("Approve: done.")).to_be_visible()
        assert hands.done == ["g", "a", "a", "Enter"]
    assert world.shop.requests[-1] == (f"/v1{path_of(order)}/approve", {})


async def test_4_an_order_is_cancelled_by_c_reason_enter(world: World, order: FakeOrder) -> None:
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        await hands.press("c")
        await expect(tab.get_by_role("dialog").get_by_label("Reason")).to_be_focused()
        await hands.type("The customer called.")
        await hands.press("Enter")
        await expect(tab.get_by_text("Cancel: done.")).to_be_visible()
        assert hands.done == ["c", "The customer called.", "Enter"]
    assert world.shop.requests[-1] == (f"/v1{path_of(order)}/cancel", {"reason": "The customer called."})


async def test_5_the_message_that_caused_a_fact_is_one_click_away_with_its_json(world: World, order: FakeOrder) -> None:
    cause = {
        "message_id": str(order.life.order_id), "service": "orders", "kind": "event", "type": "orders.received", "at": NOW.isoformat(),
        "published": True, "operation_id": None, "actor": "marketplace:amazon", "via": "", "cause_type": "marketplace.snapshot",
        "cause_id": None, "version": 1, "body": {"number": order.life.number},
    }  # fmt: skip
    world.shop.answers["/v1/journal"] = {"items": [cause], "next_cursor": None}
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        await hands.click("link", "orders.received", "main")
        await expect(tab.locator("#message pre")).to_contain_text(f'"number": "{order.life.number}"')
        await expect(tab.locator("#message")).to_contain_text("marketplace.snapshot")
        assert len(hands.done) == 1
    del world.shop.answers["/v1/journal"]


async def test_6_all_that_wait_for_an_answer_are_asked_again_by_four_clicks(world: World) -> None:
    orders = [await world.shop.receive(f"ASKED-{number}", allowed=("ask",)) for number in range(3)]
    async with world.tab() as tab:
        hands = Hands(tab)
        await hands.click("link", re.compile("^Processes"), "nav")
        await hands.click("link", re.compile("an answer"), "ul.groups")
        await hands.click("link", "Ask all of them again")
        await hands.click("button", re.compile("Start with 3"))
        await expect(tab.get_by_text("running")).to_be_visible()
        assert len(hands.done) == 4
        world.shop.requests.clear()
        await world.work()
        asked = {path for path, _ in world.shop.requests}
        assert asked == {f"/v1{path_of(order)}/ask" for order in orders}
        await tab.reload()
        await expect(tab.locator("main")).to_contain_text("done")
    for order in orders:
        await world.shop.approve(order)


@pytest.mark.parametrize("scripted", [True, False])
async def test_7_a_parked_group_is_replayed_by_three_clicks(world: World, scripted: bool) -> None:
    parked = [world.parked.park() for _ in range(2)]
    async with world.tab(java_script_enabled=scripted) as tab:
        hands = Hands(tab)
        await hands.click("link", re.compile("^Parked"), "nav")
        await hands.click("link", re.compile("^Replay"), "tbody")
        await hands.click("button", "Replay 2 messages")
        await expect(tab.get_by_text("running")).to_be_visible()
        assert len(hands.done) == 3
        await world.work()
        if not scripted:
            await tab.reload()  # a script shows by itself how far it came
        await expect(tab.get_by_text("2 of 2")).to_be_visible()
    assert [world.parked.rows[one]["state"] for one in parked] == ["replayed"] * 2


async def test_8_a_parked_message_is_edited_and_replayed_by_three_clicks_and_the_text(world: World) -> None:
    parked_id = world.parked.park({"name": "Ann", "works": False})
    async with world.tab(f"/parked/payments/{parked_id}") as tab:
        hands = Hands(tab)
        await hands.click("button", "Reveal and edit")
        await tab.get_by_label("The new body, JSON").focus()
        await tab.keyboard.press("Control+a")
        await hands.type('{"name": "Bob"}')
        await hands.click("button", "Preview the edit")
        await expect(tab.get_by_role("row", name="Bob")).to_be_visible()
        await hands.click("button", "Store and replay")
        await expect(tab.get_by_text("Replayed by person:ann")).to_be_visible()
        assert len(hands.done) == 4
    assert world.parked.rows[parked_id]["value"] == '{"name": "Bob"}'


async def test_9_what_an_integrator_missed_is_sent_again_by_two_clicks(world: World, order: FakeOrder) -> None:
    missed = attempt(outcome="exhausted", http_status=500, subject=order.life.order_id)
    arrived = attempt(subject=order.life.order_id, event_id="event-2")
    world.hooks.answers["GET", "/v1/attempts"] = page(missed, arrived)
    world.hooks.answers["POST", f"/v1/attempts/{missed['id']}/resend"] = (202, replay())
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        hands.done.append("click Resend")
        await tab.locator("summary", has_text="Resend 1 missed").click()
        await hands.click("button", "Send again")
        await expect(tab.get_by_text("Resend: done.")).to_be_visible()
        assert len(hands.done) == 2
    assert [one.path for one in world.hooks.writes][-1] == f"/v1/attempts/{missed['id']}/resend"
    del world.hooks.answers["GET", "/v1/attempts"]


async def test_10_events_since_a_time_are_counted_and_sent_again_by_four_clicks(world: World, order: FakeOrder) -> None:
    counted, begun = replay(replay_id=None, status=None, count=1_042), replay()
    own = f"/v1/endpoints/{ENDPOINT}"
    world.hooks.answers |= {
        ("GET", "/v1/endpoints"): page(endpoint()), ("GET", own): (200, endpoint()),
        ("POST", f"{own}/replay"): lambda request: (200, counted) if request.body.get("dry_run") else (202, begun),
        ("GET", f"/v1/replays/{begun['replay_id']}"): (200, begun),
    }  # fmt: skip
    async with world.tab() as tab:
        hands = Hands(tab)
        await hands.click("link", re.compile("^Webhooks"), "nav")
        await hands.click("link", re.compile("^Replay"), "main")
        await tab.get_by_label("From (UTC)").fill("2026-11-28T14:00")
        await hands.click("button", "Count")
        await hands.click("button", "Send 1,042 events again")
        await expect(tab.get_by_text("running")).to_be_visible()
        assert len(hands.done) == 4
    count, send = world.hooks.writes[-2:]
    assert count.body["from"] == "2026-11-28T14:00:00+00:00" and send.body["from"] == counted["from"]


async def test_11_the_messages_of_an_order_are_tailed_by_one_click(world: World, order: FakeOrder) -> None:
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        await hands.click("link", "Tail them on the topics")
        types = tab.locator("main tbody th")
        await expect(types).to_have_text(["orders.received", "orders.placed"])
        await expect(tab.locator("#live")).to_have_text("Live")
        await world.shop.approve(order)
        await expect(types).to_have_text(["orders.received", "orders.placed", "orders.approved"])
        assert len(hands.done) == 1


async def test_12_a_list_is_exported_as_csv_by_three_clicks(world: World, order: FakeOrder) -> None:
    async with world.tab("/topics") as tab:
        hands = Hands(tab)
        await hands.click("link", "Orders", "nav")
        await hands.click("link", re.compile("^Approval"), "main")
        async with tab.expect_download() as begun:
            await hands.click("link", "Export CSV")
        csv = (await (await begun.value).path()).read_text()
        assert len(hands.done) == 3
    assert order.life.number in csv and "ASKED-0" not in csv


async def test_the_tasks_are_done_without_javascript(world: World) -> None:
    kept, cancelled = await world.shop.add("PLAIN-1"), await world.shop.add("PLAIN-2")
    async with world.tab(java_script_enabled=False) as tab:
        await tab.get_by_label("Search orders").fill("PLAIN-1")
        await tab.keyboard.press("Enter")
        await tab.wait_for_url(f"**{path_of(kept)}")
        await tab.locator("summary", has_text="Approve").first.click()
        await tab.get_by_role("button", name="Approve").click()
        await expect(tab.get_by_text("Approve: done.")).to_be_visible()
        await tab.goto(world.base + "/orders")
        await tab.get_by_role("link", name="Approval").click()
        await tab.get_by_role("link", name="PLAIN-2").click()
        await tab.locator("summary", has_text="Cancel").click()
        form = tab.locator("form[action$='/cancel']")
        await form.get_by_label("Reason").fill("The customer called.")
        await form.get_by_role("button", name="Cancel").click()
        await expect(tab.get_by_text("Cancel: done.")).to_be_visible()
    assert [path for path, _ in world.shop.requests[-2:]] == [
        f"/v1{path_of(kept)}/approve", f"/v1{path_of(cancelled)}/cancel",
    ]  # fmt: skip
