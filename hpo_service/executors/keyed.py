"""Random numbers that depend on a key alone: never on order of arrival, never on a generator's state."""

from __future__ import annotations

import math

_MASK = (1 << 64) - 1
_START = 0x9E3779B97F4A7C15


def uniform(*key: int) -> float:
    """A number in [0, 1) from a key of integers; equal keys give equal numbers.

    The mixing step is SplitMix64's finaliser (Steele, Lea and Flood 2014), applied once per part of the key.
    """
    return (_mixed(_START, *key) >> 11) / (1 << 53)


def normal(*key: int) -> float:
    """A standard normal number from a key of integers (Box and Muller 1958)."""
    state = _mixed(_START, *key)
    radius = math.sqrt(-2.0 * math.log(1.0 - (_mixed(state, 1) >> 11) / (1 << 53)))
    return radius * math.cos(2.0 * math.pi * ((_mixed(state, 2) >> 11) / (1 << 53)))


def _mixed(state: int, *key: int) -> int:
    for part in key:
        state = (state + (part & _MASK) * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state
