"""Pages that change while they are open, in Chromium."""

from __future__ import annotations

import asyncio
import re

from fake_shop import FakeOrder
from playwright.async_api import Route, expect

from console_browser.world import IN_CHROMIUM, World, path_of, row_of

pytestmark = IN_CHROMIUM


async def test_eight_tabs_are_live_with_one_stream_and_a_reconnect_loses_nothing(
    world: World, order: FakeOrder
) -> None:
    async with world.context() as context:
        tabs = [await context.new_page() for _ in range(8)]
        for tab in tabs:
            await tab.goto(world.base + "/orders")
            await expect(tab.locator("#live")).to_have_text("Live")
        assert world.console.streams == 1
        await world.shop.approve(order)
        for tab in tabs:
            await expect(row_of(tab, order).locator("[data-cell=status]")).to_have_text("approved")
        other = await world.shop.add("MISSED")
        await tabs[0].goto(world.base + path_of(other))
        await expect(tabs[0].locator("#live")).to_have_text("Live")
        await world.console.stop()
        await world.shop.approve(other)
        await world.console.start()
        await expect(tabs[0].locator("ul.words")).to_contain_text("approved")


async def test_a_new_tab_misses_nothing_that_the_stream_of_another_one_has_passed(
    world: World, order: FakeOrder
) -> None:
    """Its script comes after the change has come to the first tab."""
    async with world.context() as context:
        first, second = await context.new_page(), await context.new_page()
        await first.goto(world.base + "/orders")
        await expect(first.locator("#live")).to_have_text("Live")
        come = asyncio.Event()

        async def wait(route: Route) -> None:
            await come.wait()
            await route.continue_()

        await second.route("**/assets/console.*.js", wait)
        await second.goto(world.base + "/orders", wait_until="commit")
        await expect(row_of(second, order)).to_have_count(1)
        await world.shop.approve(order)
        await expect(row_of(first, order).locator("[data-cell=status]")).to_have_text("approved")
        come.set()
        await expect(row_of(second, order).locator("[data-cell=status]")).to_have_text("approved")


async def test_a_tail_shows_messages_as_they_come_where_the_newest_are_and_each_once(
    world: World, order: FakeOrder
) -> None:
    types = ["orders.received", "orders.placed", "orders.approved", "payments.captured"]
    tails = {"": types[::-1], "&since=2026-11-21T00:00": types}
    async with world.context() as context:
        tabs = {since: await context.new_page() for since in tails}
        for since, tab in tabs.items():
            await tab.goto(f"{world.base}/topics/tail?order={order.life.order_id}{since}")
            await expect(tab.locator("#live")).to_have_text("Live")
        await world.shop.approve(order)
        await world.shop.publish(order.life.paid(captured_minor=20_00))
        for since, tab in tabs.items():
            await expect(tab.locator("main tbody th")).to_have_text(tails[since])


async def test_a_row_catches_up_with_what_its_owner_answered(world: World, order: FakeOrder) -> None:
    world.shop.publishes = False
    async with world.tab(path_of(order)) as tab:
        await tab.locator("summary", has_text="Approve").first.click()
        await tab.get_by_role("button", name="Approve").click()
        await expect(tab.get_by_text("lists catch up")).to_be_visible()
        await tab.goto(world.base + "/orders")
        row = row_of(tab, order)
        await expect(row).to_contain_text("catching up")
        world.shop.publishes = True
        await world.shop.publish(*world.shop.unpublished)
        await expect(row).not_to_contain_text("catching up")
        await expect(row.locator("[data-cell=status]")).to_have_text("approved")


async def test_a_page_that_is_paused_changes_when_it_goes_on(world: World, order: FakeOrder) -> None:
    async with world.tab() as tab:
        status = row_of(tab, order).locator("[data-cell=status]")
        await expect(tab.locator("#live")).to_have_text("Live")
        await tab.keyboard.press("p")
        await world.shop.approve(order)
        await expect(tab.locator("#live")).to_have_text(re.compile(r"Paused \(\d+\)"))
        await expect(status).to_have_text("placed")
        await tab.keyboard.press("p")
        await expect(status).to_have_text("approved")
        await expect(tab.locator("#live")).to_have_text("Live")


async def test_orders_that_come_are_shown_when_the_person_wants_it(world: World, order: FakeOrder) -> None:
    async with world.tab() as tab:
        await expect(tab.locator("#live")).to_have_text("Live")
        come = await world.shop.add("COMES")
        await expect(tab.get_by_text("1 order has changed")).to_be_visible()
        await expect(row_of(tab, come)).to_have_count(0)
        await tab.keyboard.press("r")
        await expect(row_of(tab, come)).to_have_count(1)
        await expect(tab.locator("#news")).to_be_hidden()


async def test_a_page_changes_at_most_four_times_a_second(world: World, order: FakeOrder) -> None:
    async with world.tab("/orders?column=captured&column=status") as tab:
        await expect(tab.locator("#live")).to_have_text("Live")
        await tab.evaluate("""() => {
          window.changes = []; window.begun = performance.now();
          new MutationObserver(() => window.changes.push(performance.now())).observe(
            document.querySelector("table"), {subtree: true, childList: true});
        }""")
        for n in range(20):
            await world.shop.publish(order.life.paid(authorized_minor=20_00, captured_minor=n))
        await world.shop.approve(order)
        await expect(row_of(tab, order).locator("[data-cell=status]")).to_have_text("approved")
        changes, seconds = await tab.evaluate("[window.changes.length, (performance.now() - window.begun) / 1000]")
        assert 1 <= changes <= seconds * 4 + 1
