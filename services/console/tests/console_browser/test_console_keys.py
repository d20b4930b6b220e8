"""Keys, dialogs, and lists that are filtered while one types, in Chromium."""

from __future__ import annotations

from fake_shop import FakeOrder
from playwright.async_api import expect

from console_browser.world import IN_CHROMIUM, Hands, World, path_of
from tests.browser import painted

pytestmark = IN_CHROMIUM


async def test_rows_are_walked_by_j_and_k_and_a_dialog_gives_the_focus_back(world: World, order: FakeOrder) -> None:
    await world.shop.add("AFTER")
    async with world.tab() as tab:
        hands = Hands(tab)
        rows = tab.locator("tbody th[scope=row] a")
        await hands.press("j", "j", "k")
        await expect(rows.nth(0)).to_be_focused()
        await hands.press("?")
        await expect(tab.get_by_role("dialog")).to_be_visible()
        await hands.press("j")
        await hands.press("Escape")
        await expect(rows.nth(0)).to_be_focused()
        await hands.press("Enter")
        await tab.wait_for_url("**/orders/*-*")
        await painted(tab)
        await hands.press("g", "o")
        await tab.wait_for_url("**/orders")
        await painted(tab)
        await hands.press("?")
        await tab.get_by_label("single keys act on the page").uncheck()
        await hands.press("Escape", "j")
        await expect(rows.nth(0)).not_to_be_focused()


async def test_a_dialog_that_is_closed_leaves_the_form_where_it_was(world: World, order: FakeOrder) -> None:
    async with world.tab(path_of(order)) as tab:
        hands = Hands(tab)
        await hands.press("c")
        await hands.type("half a")
        await hands.press("Escape")
        await expect(tab.locator("summary", has_text="Cancel")).to_be_focused()
        await hands.press("c")
        await expect(tab.get_by_role("dialog").get_by_label("Reason")).to_have_value("half a")


async def test_a_list_is_filtered_while_one_types(world: World, order: FakeOrder) -> None:
    await world.shop.add("TYPED-1")
    async with world.tab() as tab:
        await tab.keyboard.press("/")
        await tab.keyboard.type("typed")
        await expect(tab.locator("#list tbody tr")).to_have_count(1)
        await tab.wait_for_url("**/orders?q=typed")
        await expect(tab.get_by_label("Search orders")).to_be_focused()
        await tab.reload()
        await expect(tab.locator("#list tbody tr")).to_have_count(1)
