"""Takes marketplaces' orders and carries each through its processes. Start reading in `handlers.py`."""
