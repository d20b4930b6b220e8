"""A bank's statement in camt.053 (ISO 20022 BankToCustomerStatement, any version): balances and booked entries.

Source: the message definition report, camt.053.001.02 to .13. An entry's `Amt` has no sign, `CdtDbtInd` gives the direction, also of
a reversal: that of a credit is a debit, and pays nothing that an order waits for. One entry may contain several payments
(`TxDtls`), each of which is a row if their amounts sum to the entry's.
The `Document` may be at any depth, since some banks wrap it in an envelope of their own, and a file may have several of them.
A document type declaration is refused, so no entity is ever expanded. The document is read entry by entry, never as one tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser, tostring

from payments.domain.statements import (
    TEXT_MAX,
    Exchanged,
    Row,
    Statement,
    StatementUnreadable,
    UnreadableRow,
    parted,
)
from payments.statements.amounts import currency_of, day_of, minor_of

_AROUND: Final = ["Document", "BkToCstmrStmt", "Stmt"]
"""The elements around a part of a statement."""
_DEPTH_MAX: Final = 40
"""Levels of elements; the message definition has fewer than 20."""
_OPENING: Final = ("OPBD", "PRCD")
"""The opening balance, or the closing one of the statement before."""
_BALANCES: Final = (*_OPENING, "CLBD")
"""Those that are read. Others may come several times: what is available on each of the next days (`FWAV`)."""


def read(body: bytes, encoding: str | None = None) -> list[Statement]:
    """Returns each statement of the message. encoding: of a body that was decoded before; null: the one that it declares."""
    target = _Target()
    parser = XMLParser(target=target, encoding=encoding)
    try:
        parser.feed(body)
        parser.close()
    except ParseError as error:
        raise StatementUnreadable(f"not well-formed XML: {error}") from error
    if not target.statements:
        raise StatementUnreadable("the document has no BkToCstmrStmt/Stmt: it is no camt.053")
    return [_statement(one) for one in target.statements]


@dataclass(slots=True)
class _Collected:
    """What has been read of one statement."""

    statement_id: str = ""
    account: str = ""
    currency: str = ""
    begins: str = ""
    ends: str = ""
    balances: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Code -> amount and direction."""
    found: list[Row | UnreadableRow] = field(default_factory=list)
    entries: int = 0


class _Target:
    """Receives the parser's events. Builds a tree of each part of a statement, and drops it when it is read."""

    def __init__(self) -> None:
        self.statements: list[_Collected] = []
        self._path: list[str] = []
        self._inside = 0
        """Depth of the statement that is being read; 0: outside of any."""
        self._part: TreeBuilder | None = None

    def doctype(self, name: str, public_id: str | None, system_id: str | None) -> None:
        raise StatementUnreadable("a document type declaration is refused")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.rpartition("}")[2]
        self._path.append(name)
        if len(self._path) > _DEPTH_MAX:
            raise StatementUnreadable(f"elements are nested more than {_DEPTH_MAX} levels")
        if not self._inside and self._path[-len(_AROUND) :] == _AROUND:
            self._inside = len(self._path)
            self.statements.append(_Collected())
        elif self._inside and len(self._path) == self._inside + 1:
            self._part = TreeBuilder()
        if self._part is not None:
            self._part.start(name, attributes)

    def data(self, text: str) -> None:
        if self._part is not None:
            self._part.data(text)

    def end(self, tag: str) -> None:
        name = self._path.pop()
        if self._part is None:
            if len(self._path) < self._inside:
                self._inside = 0
            return
        self._part.end(name)
        if len(self._path) == self._inside:
            part, self._part = self._part.close(), None
            _take(self.statements[-1], part)

    def close(self) -> None:
        """Called at the end of the document."""


def _take(one: _Collected, part: Element) -> None:
    match part.tag:
        case "Id":
            one.statement_id = _text(part)
        case "Acct":
            one.account = _at(part, "Id/IBAN") or _at(part, "Id/Othr/Id")
            one.currency = _at(part, "Ccy")
        case "FrToDt":
            one.begins, one.ends = _at(part, "FrDtTm"), _at(part, "ToDtTm")
        case "Bal":
            code, stated = _at(part, "Tp/CdOrPrtry/Cd"), (_at(part, "Amt"), _at(part, "CdtDbtInd"))
            if code in _BALANCES and one.balances.setdefault(code, stated) != stated:
                raise StatementUnreadable(f"statement {one.statement_id} has two different balances {code}")
            one.currency = one.currency or _currency(part)
        case "Ntry":
            one.entries += 1
            one.found.extend(_entry(one.entries, part, one.currency or _currency(part)))


def _statement(one: _Collected) -> Statement:
    if not one.statement_id:
        raise StatementUnreadable("a statement has no Id")
    try:
        currency = currency_of(one.currency)
        opening = next((_signed(*one.balances[code], currency) for code in _OPENING if code in one.balances), None)
        closing = _signed(*one.balances["CLBD"], currency) if "CLBD" in one.balances else None
        begins = day_of(one.begins) if one.begins else None
        ends = day_of(one.ends) if one.ends else None
    except ValueError as error:
        raise StatementUnreadable(f"statement {one.statement_id}: {error}") from error
    rows, unreadable = parted(one.found)
    return Statement(one.statement_id, one.account, currency, rows, unreadable, begins, ends, opening, closing)


def _entry(number: int, entry: Element, currency: str) -> Iterator[Row | UnreadableRow]:
    """Yields the rows of an entry; none of one that is not booked: it is in no balance."""
    status = _at(entry, "Sts/Cd") or _at(entry, "Sts")
    if status in ("PDNG", "INFO", "FUTR"):
        return
    net = None
    try:
        direction = _at(entry, "CdtDbtInd")
        if _currency(entry) != currency:
            raise ValueError(f"{_currency(entry)} is not the currency of the account, {currency}")
        net = _signed(_at(entry, "Amt"), direction, currency)
        on = _day(entry)
        details = entry.findall("NtryDtls/TxDtls")
        amounts = _detail_amounts(details, direction, currency) if len(details) > 1 else []
        fee = _charges(entry, currency)
    except ValueError as error:
        yield UnreadableRow(number, tostring(entry, "unicode")[:TEXT_MAX], str(error), net)
        return
    problem = _why_one_row(amounts, net, fee, currency) if len(details) > 1 else ""
    if len(details) > 1 and not problem:
        for one, amount in zip(details, amounts, strict=True):
            yield _row(number, entry, one, amount, 0, on)
    else:
        row = _row(number, entry, details[0] if len(details) == 1 else None, net, fee, on)
        about = _at(entry, "AddtlNtryInf")  # of the whole entry: some banks write only there what the payer wrote
        references = tuple(dict.fromkeys((*row.references, about))) if about and not problem else row.references
        yield row._replace(problem=problem, references=references)


def _why_one_row(amounts: Sequence[int], net_minor: int, fee_minor: int, currency: str) -> str:
    """Why an entry of several payments is one row, whose references are left out; empty: each payment is a row.

    amounts: of the payments; empty if one states none.
    """
    if not amounts:
        return f"several payments in one entry, and not each states its amount in {currency}"
    if fee_minor:
        return f"{len(amounts)} payments in one entry, and {fee_minor} minor units of charges that are of none of them"
    if (summed := sum(amounts)) != net_minor:
        return f"{len(amounts)} payments in one entry sum to {summed} minor units, the entry is {net_minor}"
    return ""


def _is_returned(entry: Element, details: Element | None) -> bool:
    """Whether money comes back that was moved before: it was reversed, or a bank could not deliver it, or recalled it."""
    returned = details is not None and details.find("RtrInf") is not None
    return returned or _at(entry, "RvslInd").lower() in ("true", "1")


def _row(number: int, entry: Element, details: Element | None, net_minor: int, fee_minor: int, on: date) -> Row:
    row_id = _at(entry, "AcctSvcrRef") or _at(entry, "NtryRef")
    references = _references(details) if details is not None else ()
    exchanged = _exchanged(details, net_minor) if details is not None else None
    if _is_returned(entry, details):
        return Row(number, "adjustment", row_id, references, net_minor + fee_minor, fee_minor, net_minor, on, exchanged)
    kind = "transfer" if details is not None or net_minor > 0 else "fee" if _is_charge(entry) else "transfer"
    if kind == "fee":
        return Row(number, "fee", row_id, references, 0, -net_minor, net_minor, on)
    return Row(number, "transfer", row_id, references, net_minor + fee_minor, fee_minor, net_minor, on, exchanged)


_STRUCTURED: Final = ("RmtInf/Strd/CdtrRefInf/Ref", "RmtInf/Strd/RfrdDocInf/Nb")
_WRITTEN: Final = ("RmtInf/Ustrd", "RmtInf/Strd/AddtlRmtInf", "AddtlTxInf")


def _references(details: Element) -> tuple[str, ...]:
    """Creditor references (ISO 11649), numbers of documents, the sender's end-to-end id, then what the payer and the bank wrote."""
    found = [_text(one) for path in _STRUCTURED for one in details.findall(path)]
    found.append(_at(details, "Refs/EndToEndId"))
    found += [_text(one) for path in _WRITTEN for one in details.findall(path)]
    return tuple(dict.fromkeys(one for one in found if one and one != "NOTPROVIDED"))


def _exchanged(details: Element, net_minor: int) -> Exchanged | None:
    """What the payer instructed, if that was another currency."""
    instructed = details.find("AmtDtls/InstdAmt/Amt")
    rate = _at(details, "AmtDtls/InstdAmt/CcyXchg/XchgRate") or _at(details, "AmtDtls/TxAmt/CcyXchg/XchgRate")
    if instructed is None or not rate:
        return None
    try:
        currency = currency_of(instructed.get("Ccy"))
        amount = minor_of(_text(instructed), currency)
    except ValueError:
        return None
    return Exchanged(currency, amount if net_minor >= 0 else -amount, rate)


def _charges(entry: Element, currency: str) -> int:
    """Charges that the entry's amount contains: positive is a cost. Those in another currency stay a part of the amount."""
    records = [one for one in entry.findall("Chrgs/Rcrd") if _at(one, "ChrgInclInd").lower() in ("true", "1")]
    included = [one for one in records if _currency(one) == currency]
    return -sum(_signed(_at(one, "Amt"), _at(one, "CdtDbtInd") or "DBIT", currency) for one in included)


def _is_charge(entry: Element) -> bool:
    """The bank's own charge: family `MDOP` or `MCOP`, sub-family `CHRG` (external bank transaction codes)."""
    return _at(entry, "BkTxCd/Domn/Fmly/SubFmlyCd") == "CHRG"


def _detail_amounts(details: Sequence[Element], direction: str, currency: str) -> list[int]:
    """Those of the payments in one entry; none if one of them states none in the currency of the account."""
    amounts = []
    for one in details:
        stated = next((part for part in (one, one.find("AmtDtls/TxAmt")) if part is not None and _currency(part)), None)
        if stated is None or _currency(stated) != currency:
            return []
        amounts.append(_signed(_at(stated, "Amt"), _at(one, "CdtDbtInd") or direction, currency))
    return amounts


def _day(entry: Element) -> date:
    booked = _at(entry, "BookgDt/Dt") or _at(entry, "BookgDt/DtTm")
    if not booked:
        raise ValueError("the entry has no booking date")
    return day_of(booked)


def _signed(amount: str, direction: str, currency: str) -> int:
    if direction not in ("CRDT", "DBIT"):
        raise ValueError(f"{direction!r} is neither CRDT nor DBIT")
    amount_minor = minor_of(amount, currency)
    if amount_minor < 0:
        raise ValueError(f"{amount!r} has a sign")
    return amount_minor if direction == "CRDT" else -amount_minor


def _currency(part: Element) -> str:
    amount = part.find("Amt")
    return (amount.get("Ccy") or "").strip().upper() if amount is not None else ""


def _at(part: Element, path: str) -> str:
    return (part.findtext(path) or "").strip()


def _text(part: Element) -> str:
    return (part.text or "").strip()
