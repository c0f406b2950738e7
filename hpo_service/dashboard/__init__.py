"""The pages: static shells whose data comes through the public REST API."""
