"""What an order decides on each message: requests of people, snapshots, timers, answers of other services."""
