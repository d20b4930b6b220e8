"""The form of an endpoint: a new one, whose secret is shown once, and a change of one."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from console.api import requesting
from console.api.asking import ask
from console.api.requesting import Failed
from console.api.serving import Pages, form
from console.api.webhooks import check, endpoint_page, path_of, subject_of
from console.audit import Subject
from console.domain.editing import CHOICES, NEW, NUMBERS, TYPE, changed, created, fields_of, groups
from console.domain.endpoints import SCOPE
from console.domain.people import Person
from console.domain.wanted import Fields
from contracts.base import Code


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]

    @router.get("/webhooks/{store_id}/new")
    async def new(store_id: Code, person: SignedIn) -> Response:
        check(person, store_id, SCOPE)
        return _form(pages, person, store_id, NEW)

    @router.post("/webhooks/{store_id}/new")
    async def create(request: Request, store_id: Code, person: SignedIn) -> Response:
        check(person, store_id, SCOPE)
        fields = await form(request)
        try:
            wanted = created(fields)
        except ValueError as error:
            return _form(pages, person, store_id, fields, failed=requesting.incomplete("create", fields, error))
        subject = Subject("url", fields["url"][:200], store_id)
        outcome = await requesting.request(pages, person, subject, "create", wanted, fields)
        if isinstance(outcome, Failed):
            return _form(pages, person, store_id, fields, failed=outcome)
        return await endpoint_page(
            pages, person, store_id, UUID(outcome.body["endpoint_id"]), secret=outcome.body["secret"]
        )

    @router.get("/webhooks/{store_id}/{endpoint_id}/edit")
    async def edit(store_id: Code, endpoint_id: UUID, person: SignedIn) -> Response:
        check(person, store_id, SCOPE)
        endpoint = await ask(pages, "webhooks", f"/v1/endpoints/{endpoint_id}", store_id, person, "endpoint_unknown")
        fields = {**fields_of(endpoint), "version": str(endpoint["version"])}
        return _form(pages, person, store_id, fields, endpoint_id)

    @router.post("/webhooks/{store_id}/{endpoint_id}/edit")
    async def change(request: Request, store_id: Code, endpoint_id: UUID, person: SignedIn) -> Response:
        check(person, store_id, SCOPE)
        fields = await form(request)
        endpoint = await ask(pages, "webhooks", f"/v1/endpoints/{endpoint_id}", store_id, person, "endpoint_unknown")
        try:
            wanted = changed(endpoint, fields)
        except ValueError as error:
            failed = requesting.incomplete("change", fields, error)
            return _form(pages, person, store_id, fields, endpoint_id, failed)
        outcome = await requesting.request(pages, person, subject_of(store_id, endpoint_id), "change", wanted, fields)
        if isinstance(outcome, Failed):
            return _form(pages, person, store_id, fields, endpoint_id, outcome)
        return RedirectResponse(f"{path_of(store_id, endpoint_id)}?done=change", 303)


def _form(
    pages: Pages,
    person: Person,
    store_id: str,
    fields: Fields,
    endpoint_id: UUID | None = None,
    failed: Failed | None = None,
) -> Response:
    """endpoint_id: null for a new one."""
    back = f"/webhooks?store={store_id}" if endpoint_id is None else path_of(store_id, endpoint_id)
    return pages.page(
        "endpoint-form.html", failed.status if failed else 200, person=person, store_id=store_id, endpoint_id=endpoint_id, back=back,
        fields=fields, groups=groups(fields), choices=CHOICES, numbers=NUMBERS, TYPE=TYPE, failed=failed,
        nonce=failed.nonce if failed else uuid4(),
    )  # fmt: skip
