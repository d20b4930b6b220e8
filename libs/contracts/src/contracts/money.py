"""Money is an integer of minor units and an ISO 4217 code. Rounding is half up (away from zero), and named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, StringConstraints

# Active ISO 4217 codes by number of decimals (list one, published 2026-01-01). CLDR's digits differ for 13 of them.
_BY_EXPONENT: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF"
    " CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF"
    " IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN"
    " MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS"
    " SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
EXPONENTS: Final[dict[str, int]] = {code: n for n, codes in _BY_EXPONENT.items() for code in codes.split()}
"""Decimals of a currency's minor unit: JPY 0, EUR 2, TND 3."""


def _known(code: str) -> str:
    if code not in EXPONENTS:
        raise ValueError(f"{code} is not an active ISO 4217 currency code")
    return code


CURRENCY_PATTERN: Final = "^[A-Z]{3}$"
"""A schema of a message has only the form of a code: with the codes, a new one would be a breaking change."""
Currency = Annotated[str, StringConstraints(pattern=CURRENCY_PATTERN), AfterValidator(_known)]


def decimal_string(amount_minor: int, currency: str) -> str:
    """
    >>> decimal_string(1999, "EUR"), decimal_string(-5, "JPY"), decimal_string(5, "TND")
    ('19.99', '-5', '0.005')
    """
    return str(Decimal(amount_minor).scaleb(-EXPONENTS[currency]))


def round_half_up(value: Fraction | Decimal | int) -> int:
    """Nearest integer, halves away from zero.

    >>> round_half_up(Fraction(5, 2)), round_half_up(Fraction(-5, 2)), round_half_up(Decimal("2.4999"))
    (3, -3, 2)
    """
    value = Fraction(value)
    whole = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return -whole if value < 0 else whole


@lru_cache(maxsize=256)
def canonical(rate: str) -> str:
    """Returns the shortest spelling of a rate, so that equal rates are one group.

    >>> canonical("20.00"), canonical("25.5"), canonical("08.10"), canonical("0.0")
    ('20', '25.5', '8.1', '0')
    """
    return f"{Decimal(rate).normalize():f}"


def vat_in_gross(gross_minor: int, rate: str) -> int:
    """The VAT that a gross amount contains: G x r / (100 + r).

    Source: Directive 2006/112/EC art. 78; 59800 @ 25 is Dintero's.

    >>> vat_in_gross(59800, "25"), vat_in_gross(1999, "25.5"), vat_in_gross(100, "0")
    (11960, 406, 0)
    """
    percent = Fraction(rate)
    return round_half_up(Fraction(gross_minor) * percent / (100 + percent))


def vat_on_net(net_minor: int, rate: str) -> int:
    """The VAT that is added to a net amount: N x r / 100.

    >>> vat_on_net(10000, "17")
    1700
    """
    return round_half_up(Fraction(net_minor) * Fraction(rate) / 100)


def vat_by_rate(amounts: Iterable[tuple[int, str]], price_basis: Literal["gross", "net"]) -> dict[str, int]:
    """The VAT of (amount, canonical rate) pairs, computed once per rate.

    >>> vat_by_rate([(1999, "17"), (1999, "17"), (1999, "17"), (500, "0")], "gross")
    {'17': 871, '0': 0}
    """
    sums: dict[str, int] = {}
    for amount, rate in amounts:
        sums[rate] = sums.get(rate, 0) + amount
    vat_of = vat_on_net if price_basis == "net" else vat_in_gross
    return {rate: vat_of(amount, rate) for rate, amount in sums.items()}


def rate_of(net_minor: int, vat_minor: int) -> str | None:
    """The rate that follows from a net amount and its VAT: with the fewest decimals that give this VAT, at most 4.

    None where no rate below 100 does: VAT on nothing, or more VAT than net.

    >>> rate_of(10000, 1900), rate_of(1593, 406), rate_of(10000, 825), rate_of(5000, 0), rate_of(0, 5)
    ('19', '25.5', '8.25', '0', None)
    """
    if vat_minor == 0:
        return "0"
    if net_minor <= 0:
        return None
    exact = Fraction(100 * vat_minor, net_minor)
    rate = Decimal(0)
    for decimals in range(5):
        rate = Decimal(round_half_up(exact * 10**decimals)).scaleb(-decimals)
        if vat_on_net(net_minor, str(rate)) == vat_minor:
            break
    return f"{rate:f}" if rate < 100 else None


def split(total: int, weights: Sequence[int]) -> list[int]:
    """Share `total` by `weights` so that the shares add up to `total` exactly.

    total: minor units, any sign. weights: one per line, >= 0. Result: one share per weight, same order.
    Largest remainder; of equals the earlier line gets the odd cent, so a replay splits alike.
    Raises ValueError without a positive weight. Source: Hamilton's method; EN 16931 BR-CO-10 (lines sum to the total).

    >>> split(100, [1, 1, 1]), split(-5, [0, 2, 1])
    ([34, 33, 33], [0, -3, -2])
    """
    if min(weights, default=0) < 0 or not any(weights):
        raise ValueError(f"cannot share {total} by {list(weights)}")
    whole = sum(weights)
    parts = [divmod(abs(total) * weight, whole) for weight in weights]
    odd = abs(total) - sum(share for share, _ in parts)
    lucky = set(sorted(range(len(parts)), key=lambda n: -parts[n][1])[:odd])
    return [(share + (n in lucky)) * (-1 if total < 0 else 1) for n, (share, _) in enumerate(parts)]
