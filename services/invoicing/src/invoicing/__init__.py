"""Invoicing: issues an invoice per capture and credits it; numbers run 1..n per seller, documents never change."""
