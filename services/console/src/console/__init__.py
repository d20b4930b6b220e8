"""The console: people see and steer every order from its pages."""
