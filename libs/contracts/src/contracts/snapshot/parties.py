"""Who buys, where the goods go and come from, and under which tax numbers."""

from __future__ import annotations

from typing import Annotated

from contracts.base import Country, Flag, Frozen, Id, IfStated, Personal, Text

PersonalText = Annotated[Text, Personal()]


class Address(Frozen):
    salutation: IfStated[PersonalText] = None
    name: IfStated[PersonalText] = None
    company: IfStated[PersonalText] = None
    line1: IfStated[PersonalText] = None
    line2: IfStated[PersonalText] = None
    line3: IfStated[PersonalText] = None
    house_number: IfStated[PersonalText] = None
    """With its suffix, where `line1` is the street alone."""
    district: IfStated[PersonalText] = None
    postcode: IfStated[PersonalText] = None
    city: IfStated[PersonalText] = None
    region: IfStated[PersonalText] = None
    country: IfStated[Country] = None
    phone: IfStated[PersonalText] = None
    pickup_point: IfStated[PersonalText] = None
    residential: IfStated[Flag] = None


class Buyer(Frozen):
    external_id: IfStated[Annotated[Id, Personal()]] = None
    name: IfStated[PersonalText] = None
    email: IfStated[PersonalText] = None
    email_is_relay: Flag = False
    phone: IfStated[PersonalText] = None
    company: IfStated[PersonalText] = None
    company_number: IfStated[PersonalText] = None
    """In the register of companies, e.g. KvK in the Netherlands."""
    vat_number: IfStated[PersonalText] = None
    tax_exempt: IfStated[Flag] = None
    locale: IfStated[Text] = None


class TaxRegistration(Frozen):
    """A tax number that the marketplace states for the order, besides `buyer.vat_number`."""

    party: Text
    """Who is registered: `buyer`, `seller` or `marketplace`."""
    number: PersonalText
    kind: IfStated[Text] = None
    """E.g. `vat`, `ioss`, `cnpj`."""
    country: IfStated[Country] = None


class Origin(Frozen):
    """Where goods start. It decides the tax in some countries."""

    location: IfStated[Text] = None
    """The marketplace's name of the warehouse or store."""
    country: IfStated[Country] = None
    region: IfStated[Text] = None
    postcode: IfStated[Text] = None
    city: IfStated[Text] = None
