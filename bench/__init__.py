"""`make bench`: measures the speed of the whole system on this machine and compares it with targets and a peer."""
