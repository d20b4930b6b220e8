"""The country names of UCI Online Retail (and its second edition) as ISO 3166-1 alpha-2 codes."""

from __future__ import annotations

from typing import Final

UNITED_KINGDOM: Final = "United Kingdom"

ISO_3166: Final[dict[str, str | None]] = {
    UNITED_KINGDOM: "GB",
    "Australia": "AU",
    "Austria": "AT",
    "Bahrain": "BH",
    "Belgium": "BE",
    "Bermuda": "BM",
    "Brazil": "BR",
    "Canada": "CA",
    "Channel Islands": "GG",  # Guernsey or Jersey; the file has one name for both
    "Cyprus": "CY",
    "Czech Republic": "CZ",
    "Denmark": "DK",
    "EIRE": "IE",
    "European Community": None,  # no country
    "Finland": "FI",
    "France": "FR",
    "Germany": "DE",
    "Greece": "GR",
    "Hong Kong": "HK",
    "Iceland": "IS",
    "Israel": "IL",
    "Italy": "IT",
    "Japan": "JP",
    "Korea": "KR",
    "Lebanon": "LB",
    "Lithuania": "LT",
    "Malta": "MT",
    "Netherlands": "NL",
    "Nigeria": "NG",
    "Norway": "NO",
    "Poland": "PL",
    "Portugal": "PT",
    "RSA": "ZA",
    "Saudi Arabia": "SA",
    "Singapore": "SG",
    "Spain": "ES",
    "Sweden": "SE",
    "Switzerland": "CH",
    "Thailand": "TH",
    "USA": "US",
    "United Arab Emirates": "AE",
    "Unspecified": None,
    "West Indies": None,  # a region
}


def iso_country(name: str) -> str | None:
    """The ISO code of a country name of the file; None if it is no country or is missing from the table."""
    return ISO_3166.get(name)
