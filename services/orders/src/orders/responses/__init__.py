"""Response models of orders' HTTP."""
