"""What pages that are open receive without being loaded again: `hub.py` first."""
