"""Pure: the VAT of a document, the series that numbers it, the documents of an order."""
