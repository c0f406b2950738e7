"""A module of a user that raises when it is imported."""

raise ValueError("the data are not there yet")
