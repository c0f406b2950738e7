"""How often a controller's process looks for garbage in cycles. It keeps nearly all that it makes."""

from __future__ import annotations

import gc

YOUNG = 100_000
"""New objects between two looks at the new ones: more than a batch of messages makes and drops again."""


def look_rarely() -> None:
    """Look for cyclic garbage rarely in this process, from now on.

    Python looks after every 700 new objects, takes what a batch of messages is made of for something that stays, and
    then looks through everything: at 100,000 trials a fifth of the controller's time. What is in no cycle, which is
    nearly everything here, goes at once all the same.
    """
    gc.set_threshold(YOUNG, 20, 50)
