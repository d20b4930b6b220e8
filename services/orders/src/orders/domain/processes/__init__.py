"""The kinds of processes, each on its page, and which of them takes over what a marketplace changes."""
