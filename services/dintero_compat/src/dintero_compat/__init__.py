"""Dintero's order management over Tradewind: its paths and shapes, answered by orders and payments."""
