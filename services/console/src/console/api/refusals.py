"""What a page refuses: the problems of the console, with what a person does about each."""

from __future__ import annotations

from typing import Final

from chassis.declare.app import About, Problems
from chassis.http.problems import Problem

PROBLEMS: Final[Problems] = {
    "cross_origin": About(403, "Not from a page of the console", "Another site, or another port, has sent the request. Nothing was done.",
        "Use the form on the console's own page."),
    "action_unknown": About(404, "No such action", "An order has no action of this name.", "Use a form of its page."),
    "action_forbidden": About(403, "You may not do this", "None of your roles has the scope. Nothing was done.",
        "Ask whoever runs the console for another role."),
    "delivery_unknown": About(404, "No such delivery", "The event was not sent to the endpoint, or longer than 90 days ago.",
        "Choose one from the page of the endpoint."),
    "endpoint_unknown": About(404, "No such endpoint", "No store that you may see has an endpoint of this id.",
        "Choose one from the list of endpoints."),
    "filter_invalid": About(400, "A filter cannot be used", "The address names a value that the filter does not have.",
        "Choose one in the form of the page."),
    "filter_too_wide": About(400, "Too many orders fit", "Some would be missing. Nothing was done.",
        "Narrow the search, or the time in which the orders were made."),
    "job_unknown": About(404, "No such job", "No store that you may see has a job of this id. A preview is stored for an hour.",
        "The page of jobs lists them; a list of orders begins one."),
    "job_not_yours": About(403, "Another person has begun this job", "It acts for that person, so only they resume it. Nothing was done.",
        "Begin a job of your own with the same filters."),
    "job_ended": About(409, "The job has ended", "It was done or cancelled meanwhile. Nothing was done.", "Begin another one."),
    "id_token_invalid": About(502, "The identity provider's answer is not accepted",
        "Its ID token is not signed by it, not for this console, not of this sign-in, or expired. No session has begun.",
        "Sign in again. If it stays so, whoever runs the console compares CONSOLE_OIDC_ISSUER, CONSOLE_OIDC_CLIENT_ID and the clocks."),
    "provider_silent": About(503, "The identity provider does not answer", "It cannot be reached, or has no answer in time. No session has begun.",
        "Try again in a moment. Until then whoever runs the console prints one-time links: `python -m console sign-in`."),
    "provider_unusable": About(502, "The identity provider cannot be used", "Its answer, or how the console is registered there, is wrong.",
        "Whoever runs the console compares the settings CONSOLE_OIDC_* with the provider, and reads the log; one-time links go on working."),
    "gift_card_unknown": About(404, "No such gift card", "No store that you may see has a gift card of this id.",
        "Choose one from the list of gift cards."),
    "settlement_unknown": About(404, "No such statement", "No store that you may see has a statement of this id.",
        "Choose one from the list of settlements."),
    "role_missing": About(403, "You have no role here", "The identity provider has signed you in, but none of your groups has a role in the console.",
        "Ask whoever runs the console to grant one of your groups a role: `python -m console apply`."),
    "sign_in_outdated": About(400, "This sign-in is over", "It began in another browser, or more than 10 minutes ago, or it has ended.",
        "Sign in again from the page of this console."),
    "sign_in_refused": About(403, "The identity provider has not signed you in", "It has refused, or you have stopped.",
        "Sign in again, or ask whoever runs the provider to let you use this console."),
    "person_unknown": About(404, "No such person", "No person of this id was ever let in.", "Choose one on the page of people."),
    "form_invalid": About(400, "The form cannot be read", "It has more fields than any form of the console.",
        "Load the page again, and send its form."),
    "message_unknown": About(404, "No such message", "No store that you may see has a parked message of this id.",
        "Choose one from the list of parked messages."),
    "broker_silent": About(503, "Kafka does not answer", "The messages on topics cannot be read now. Everything else works.",
        "Load the page again in a moment. If it stays so, whoever runs the console checks CONSOLE_KAFKA_BOOTSTRAP_SERVERS."),
    "record_unknown": About(404, "No such message", "The topic has no record at this offset, or not any more, or it is of a store that you may not see.",
        "Go back to the messages of the topic; a topic retains them for some days."),
    "link_used": About(410, "The link does not work any more", "It was used, is older than 10 minutes, or is not complete.",
        "An operator prints a new one: `python -m console sign-in`."),
    "channel_unknown": About(404, "Nothing to watch", "None of the channels exists, or you may see none of them.",
        "Load the page again."),
    "order_unknown": About(404, "No such order", "No store that you may see has an order of this id.",
        "Search for its number; a new order appears within a second."),
    "service_silent": About(503, "A service does not answer", "The page shows what another service has, and that one has not answered. Nothing was done.",
        "Load the page again in a moment; see the health of the service."),
    "service_unset": About(503, "A service is not set up", "The console has no address or no API key of the service whose data the page shows.",
        "Whoever runs the console sets them, and starts it again."),
    "replay_unknown": About(404, "No such replay", "The endpoint has no replay of this id.", "Choose one from the page of the endpoint."),
    "store_unknown": About(404, "No such store", "You may see no store of this name, or it has no orders.",
        "Choose one from the list of stores."),
    "too_many_streams": About(429, "Too many open pages", "The process serves as many live pages as it may.",
        "The page works without being live: load it again to see changes."),
}  # fmt: skip


def refusal(code: str, detail: str) -> Problem:
    about = PROBLEMS[code]
    return Problem(about.status, code, about.title, detail)
