"""Text can be read and marks can be told from their ground, in light and in dark: WCAG contrast of the tokens."""

from __future__ import annotations

import re

import pytest

from hpo_service.dashboard import pages

CSS = (pages.FOLDER / "static" / "app.css").read_text()
TOKEN = re.compile(r"--([a-z-]+):\s*(#[0-9a-f]{6})\b")
SYSTEM, CHOSEN, GROUND = "@media (prefers-color-scheme: dark)", '[data-theme="dark"]', "/* Ground"


def tokens_of(start: str, end: str) -> dict[str, str]:
    return dict(TOKEN.findall(CSS[CSS.index(start) : CSS.index(end)]))


LIGHT = tokens_of(":root", SYSTEM)
SYSTEM_DARK = tokens_of(SYSTEM, CHOSEN)
CHOSEN_DARK = tokens_of(CHOSEN, GROUND)
GROUNDS = ("paper", "panel", "sunk", "hover")
TEXTS = [
    *((ink, ground) for ink in ("ink", "quiet", "accent") for ground in GROUNDS),
    ("faint", "panel"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("quiet", "rest-soft"),
    *((ink, ground) for ink in ("good", "bad", "warn") for ground in ("panel", "paper", f"{ink}-soft")),
    ("accent", "accent-soft"),
    ("ink", "bad-soft"),
]
MARKS = [(f"mark-{name}", "panel") for name in ("running", "finished", "stopped", "failed")]
MARKS += [("line-strong", "panel"), ("line-strong", "paper")]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_what_the_guideline_means() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_chosen_dark_is_the_systems_dark() -> None:
    assert SYSTEM_DARK == CHOSEN_DARK
    assert SYSTEM_DARK.keys() == LIGHT.keys()


@pytest.mark.parametrize("tokens", [LIGHT, SYSTEM_DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("ink", "ground"), TEXTS)
def test_texts_can_be_read(tokens: dict[str, str], ink: str, ground: str) -> None:
    assert contrast(tokens[ink], tokens[ground]) >= 4.5


@pytest.mark.parametrize("tokens", [LIGHT, SYSTEM_DARK], ids=["light", "dark"])
@pytest.mark.parametrize(("mark", "ground"), MARKS)
def test_marks_stand_out(tokens: dict[str, str], mark: str, ground: str) -> None:
    assert contrast(tokens[mark], tokens[ground]) >= 3
