"""`make bench`: how fast the whole system is on this machine, each figure beside its floor, its goal and a peer."""
