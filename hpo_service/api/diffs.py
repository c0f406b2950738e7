"""Texts told apart line by line, in bounded time. Knows nothing of studies, bundles or files."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

MOST_EFFORT = 300_000_000
"""Steps of comparing lines in one answer; a few seconds."""
CONTEXT = 3


class Diffs:
    """Diffs of one answer. Finding one takes up to the cube of a file's lines where many of them are alike, so what
    would take too long is told by its lengths."""

    def __init__(self) -> None:
        self._left = MOST_EFFORT

    def of(self, name: str, one: str, other: str) -> str:
        """The unified diff."""
        first, second = one.splitlines(), other.splitlines()
        skipped = max(0, _common(first, second) - CONTEXT)
        first, second = first[skipped:], second[skipped:]
        behind = max(0, _common(first[::-1], second[::-1]) - CONTEXT)
        first, second = first[: len(first) - behind], second[: len(second) - behind]
        effort = _effort(first, second)
        if effort > self._left:
            return f"(differs: {len(one.splitlines())} lines, and {len(other.splitlines())}; too many to compare)"
        self._left -= effort
        lines = difflib.unified_diff(first, second, f"a/{name}", f"b/{name}", lineterm="", n=CONTEXT)
        return "\n".join(_moved(line, skipped) if line.startswith("@@ ") else line for line in lines)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """How many lines are the same at the beginning."""
    return next((n for n, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))


def _effort(one: Sequence[str], other: Sequence[str]) -> int:
    """Steps that difflib takes at most: pairs of lines that are alike (but for those that it leaves out as too
    frequent), looked at again for each piece that is the same."""
    counts = Counter(other)
    most = len(other) // 100 + 1 if len(other) >= 200 else len(other)
    pairs = sum(counts[line] for line in one if counts[line] <= most)
    return (pairs + len(one) + len(other)) * min(len(one), len(other))


def _moved(line: str, by: int) -> str:
    """A hunk's heading, its lines counted from the beginning of the file."""
    return re.sub(r"(?<=[-+])\d+", lambda found: str(int(found[0]) + by), line)
