"""What a trial's learning curves say about it, in plain words: the rules that practical courses on training teach.

Pure: curves in, findings out. A pair of curves is one metric in training and in validation; what only one curve shows
(diverged, stuck, noisy) is found without a pair. Rules of thumb, not proofs: each text names the numbers it saw.
After Karpathy, "A Recipe for Training Neural Networks" (2019), and Ng, "Machine Learning Yearning" (2018), ch. 20-32.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MIN_POINTS = 4
STUCK = 0.02
"""A curve that moved less than this share of its first value never got going."""
GAP = 0.25
"""A gap this wide, as a share of what training gained, is overfitting."""
ERROR_GAP = 0.05
"""So wide a gap between shares (accuracy and the like) is overfitting where the validation error is twice as large."""
LITTLE = 0.3
"""Training that gained less than this share of its first value is underfitting, unless it is still going."""
BEHIND = 0.3
"""As is training that ends this far from the best trial's, as a share of what that one gained."""
FALLING = 0.05
"""A curve whose last quarter gained more than this share of the whole gain is still going."""
NOISE = 0.25
"""Jumps from report to report beyond this share of the whole gain hide the trend."""
_LOSSES = ("loss", "error", "err", "rmse", "mse", "mae", "mape", "nll", "perplexity", "ppl", "logloss")
_SHARES = ("accuracy", "acc", "auc", "auroc", "f1", "precision", "recall", "iou", "dice")
_SCORES = (*_SHARES, "r2", "score", "bleu", "reward", "return", "map", "ndcg")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    kind: str  # ok, underfit, overfit, undertrained, diverged, check_split, stuck, noisy, too_short
    title: str
    text: str  # what was seen, and what to do


@dataclass(frozen=True, slots=True)
class Pair:
    """One metric measured on the training data and on the validation data."""

    name: str
    train: str
    validation: str


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric over a trial's resource. `maximize`: whether more is better."""

    name: str
    resource: Floats
    value: Floats
    maximize: bool

    @classmethod
    def of(cls, name: str, resource: Iterable[float], value: Iterable[float], *, maximize: bool) -> Curve:
        return cls(name, np.array(list(resource), dtype=np.float64), np.array(list(value), dtype=np.float64), maximize)


def pairs(names: Iterable[str]) -> list[Pair]:
    """The pairs among metric names: `train_X` with `val_X`, `valid_X` or `validation_X`, or plain `X` with `val_X`;
    losses first."""
    known = list(dict.fromkeys(names))
    found: dict[str, Pair] = {}
    for name in known:
        for prefix in ("val_", "valid_", "validation_"):
            if name.startswith(prefix) and len(name) > len(prefix):
                rest = name[len(prefix) :]
                train = next((t for t in (f"train_{rest}", f"training_{rest}", rest) if t in known), None)
                if train is not None:
                    found.setdefault(rest, Pair(name=rest, train=train, validation=name))
    return sorted(found.values(), key=lambda pair: not _ends(pair.name, _LOSSES))


def maximizes(name: str, objectives: Mapping[str, bool]) -> bool | None:
    """Whether more of the metric is better: as an objective says, else by its name; None where nobody knows."""
    if name in objectives:
        return objectives[name]
    if _ends(name, _LOSSES):
        return False
    return True if _ends(name, _SCORES) else None


def diagnose(
    objective: Curve,
    train: Curve | None = None,
    validation: Curve | None = None,
    *,
    best_train: float | None = None,
    goes_on: bool = False,
    horizon: float | None = None,
) -> list[Diagnosis]:
    """What the curves show, the gravest first; never empty.

    `train` and `validation` are a pair, or None. `best_train` is where the best trial's training curve ended;
    `goes_on` says that the trial may still be trained further, `horizon` how far it might have been at most.
    """
    shown = [curve for curve in (train, validation, objective) if curve is not None]
    broken = next((d for d in map(_diverged, (train or objective, *shown)) if d is not None), None)
    if broken is not None:
        return [broken]
    views = [_View(curve) for curve in shown]
    if max(view.n for view in views) < MIN_POINTS:
        return [_too_short(max(view.n for view in views))]
    lead = views[0] if views[0].n >= MIN_POINTS else max(views, key=lambda view: view.n)
    if lead.stuck:
        return [_stuck(lead)]
    if train is not None and validation is not None and min(views[0].n, views[1].n) >= MIN_POINTS:
        found, going = _of_pair(views[0], views[1], best_train), views[:2]
        falling = all(view.falling for view in going) and all(d.kind != "overfit" for d in found)
    else:
        found, going, falling = [], [lead], lead.falling
    if falling:
        found.append(_still_learning(lead) if goes_on else _undertrained(going, horizon))
    watched = views[1] if validation is not None and views[1].n >= MIN_POINTS else lead
    if watched.noisy:
        found.append(_noisy(watched))
    return found or [_ok(watched)]


class _View:
    """A curve turned so that lower is better, without the points that are not finite."""

    def __init__(self, curve: Curve) -> None:
        there = np.isfinite(curve.value)
        self.name = curve.name
        self.share = curve.maximize and _ends(curve.name, _SHARES)
        self.at = curve.resource[there]
        self.shown = curve.value[there]
        self.y = (1.0 - self.shown if self.share else -self.shown) if curve.maximize else self.shown
        self.n = int(self.y.size)
        if not self.n:
            return
        tail = max(1, self.n // 10)
        self.start = float(self.y[0])
        self.end = float(np.median(self.y[-tail:]))
        self.best = int(np.argmin(self.y))
        self.gain = self.start - float(self.y[self.best])
        self.noise = _noise_of(self.y)

    @property
    def stuck(self) -> bool:
        return float(np.ptp(self.y)) <= STUCK * abs(self.start)

    @property
    def falling(self) -> bool:
        """Whether the last quarter still gained, beyond what chance gives."""
        quarter = max(2, self.n // 4)
        before, last = self.y[-2 * quarter : -quarter], self.y[-quarter:]
        if before.size < 2:
            before, last = self.y[: self.n // 2], self.y[self.n // 2 :]
        gained = float(before.mean() - last.mean())
        return gained > max(FALLING * max(self.gain, 0.0), 2 * self.noise / math.sqrt(quarter))

    @property
    def noisy(self) -> bool:
        settled = float(np.median(self.y[-max(2, self.n // 4) :]))
        return self.n >= 6 and self.noise > NOISE * abs(self.start - settled)

    def says(self, index: int) -> str:
        """The value at a point, as it was reported."""
        return f"{self.shown[index]:.3g}"


def _diverged(curve: Curve) -> Diagnosis | None:
    where = np.flatnonzero(~np.isfinite(curve.value))
    remedy = "Try a learning rate three to ten times smaller, a warm-up or gradient clipping, and look for bad inputs."
    if where.size:
        at = f"{curve.name} was not a finite number at {curve.resource[where[0]]:g}"
        recovered = bool(np.isfinite(curve.value[-1]))
        title = "Broke down on the way" if recovered else "Diverged"
        then = f" ({where.size} of {curve.value.size} reports) and recovered" if recovered else ""
        return Diagnosis("diverged", title, f"{at}{then}. {remedy}")
    view = _View(curve)
    if view.n < 3:
        return None
    worse = view.end - view.start
    if worse > 0.2 * abs(view.start) + 4 * view.noise:
        seen = f"{curve.name} went from {view.says(0)} to {view.says(-1)}: worse than before any training."
        return Diagnosis("diverged", "Diverged", f"{seen} {remedy}")
    return None


def _of_pair(train: _View, validation: _View, best_train: float | None) -> list[Diagnosis]:
    found: list[Diagnosis] = []
    over = _overfits(train, validation)
    if over:
        found.append(_overfit(train, validation))
    elif _split_looks_odd(train, validation):
        found.append(_check_split(train, validation))
    behind = _behind(train, best_train)
    if not over and (behind or (train.gain < LITTLE * abs(train.start) and not train.falling)):
        found.append(_underfit(train, best_train if behind else None))
    return found


def _overfits(train: _View, validation: _View) -> bool:
    rose = validation.end - float(validation.y[validation.best])
    since = float(np.interp(validation.at[validation.best], train.at, train.y)) - train.end
    turned = rose > max(0.1 * abs(validation.gain), 5 * validation.noise, 1e-12) and since > 0
    gap = validation.end - train.end
    learned = max(train.start, validation.start) - train.end
    wide = learned > 0 and gap > GAP * learned and gap > 3 * max(train.noise, validation.noise)
    doubled = train.share and gap > ERROR_GAP and validation.end > 2 * train.end
    return bool(turned or wide or doubled)


def _split_looks_odd(train: _View, validation: _View) -> bool:
    """Validation clearly better in the second half: in the first epochs it always is, for it is measured after them."""
    half = train.at[train.n // 2 :]
    gap = train.y[train.n // 2 :] - np.interp(half, validation.at, validation.y)
    level = abs(float(train.y[train.n // 2 :].mean()))
    clear = float(gap.mean()) > max(0.1 * level, 3 * max(train.noise, validation.noise), 1e-12)
    return clear and float(np.mean(gap > 0)) >= 0.8 and half[-1] <= validation.at[-1]


def _behind(train: _View, best_train: float | None) -> bool:
    if best_train is None or not math.isfinite(best_train):
        return False
    best = _turned(train, best_train)
    return train.end - best > BEHIND * (train.start - best) > 0 and not train.falling


def _turned(view: _View, value: float) -> float:
    if view.share:
        return 1.0 - value
    return -value if view.shown.size and view.shown[0] != view.y[0] else value


def _noise_of(y: Floats) -> float:
    """The standard deviation of jumps around a smooth curve, from second differences (robustly, by their median)."""
    if y.size < 3:
        return 0.0
    bends = np.abs(np.diff(y, n=2))
    return float(1.4826 * np.median(bends) / math.sqrt(6))


def _ends(name: str, words: tuple[str, ...]) -> bool:
    parts = name.lower().replace("-", "_").replace(".", "_").replace("/", "_").split("_")
    return any(part in words for part in parts)


def _overfit(train: _View, validation: _View) -> Diagnosis:
    best = validation.best
    text = f"{train.name} ended at {train.says(-1)}, {validation.name} at {validation.says(-1)}"
    if validation.end > validation.y[best] and best < validation.n - 1:
        text += f" after {validation.says(best)} at {validation.at[best]:g}"
    text += (
        ". The model fits the training data better than what it has not seen: regularise more (weight decay, dropout, "
        "augmentation), use more data or a smaller model, or stop earlier."
    )
    return Diagnosis("overfit", "Overfitting", text)


def _check_split(train: _View, validation: _View) -> Diagnosis:
    text = (
        f"{validation.name} ended at {validation.says(-1)}, better than {train.name} with {train.says(-1)}. Dropout, "
        "augmentation and averages over an epoch explain a little of that; if the gap stays, check the split: the "
        "validation data may be easier, or rows may be in both."
    )
    return Diagnosis("check_split", "Validation is better than training", text)


def _underfit(train: _View, best_train: float | None) -> Diagnosis:
    text = f"{train.name} went from {train.says(0)} to {train.says(-1)} and no further"
    text += f"; the best trial came to {best_train:.3g}" if best_train is not None else ""
    text += (
        ". The model is too small or the optimisation is stuck: try a larger model, another learning rate (often a "
        "higher one), less regularisation."
    )
    return Diagnosis("underfit", "Does not fit its training data", text)


def _undertrained(views: Sequence[_View], horizon: float | None) -> Diagnosis:
    names = " and ".join(view.name for view in views)
    last, at = views[-1], float(views[0].at[-1])
    seen = f"{names} {'were' if len(views) > 1 else 'was'} still getting better when training ended at {at:g}"
    if horizon is not None and math.isfinite(horizon) and horizon > at * (1 + 1e-9):
        text = (
            f"{seen} of at most {horizon:g} ({last.name}: {last.says(-1)}). Others did better by then; should that "
            "happen to configurations you trust, raise the smallest resource."
        )
    else:
        text = (
            f"{seen} ({last.name}: {last.says(-1)}). Train longer: raise the resource, or try a higher learning rate "
            "to get there sooner."
        )
    return Diagnosis("undertrained", "Still learning when it ended", text)


def _still_learning(view: _View) -> Diagnosis:
    text = f"{view.name} is at {view.says(-1)} at {view.at[-1]:g} and still getting better; the trial may go on."
    return Diagnosis("ok", "Still learning", text)


def _stuck(view: _View) -> Diagnosis:
    text = (
        f"{view.name} stayed where it began: {view.says(0)} at {view.at[0]:g}, {view.says(-1)} at {view.at[-1]:g}. "
        "Check the data and the loss on one small batch, which a working model learns by heart; then try other "
        "learning rates."
    )
    return Diagnosis("stuck", "Learned nothing", text)


def _noisy(view: _View) -> Diagnosis:
    text = (
        f"{view.name} jumps by about {view.noise:.2g} from report to report, much against what it gained in all: it "
        f"went from {view.says(0)} to {view.says(-1)}. Use larger batches, a smaller or decaying learning rate, or "
        "more validation data, and repeat with other seeds before trusting small differences."
    )
    return Diagnosis("noisy", "Noisy", text)


def _too_short(n: int) -> Diagnosis:
    reports = f"{n} report{'' if n == 1 else 's'}" if n else "no reports"
    text = f"The curves have {reports}; at least {MIN_POINTS} are needed to say something."
    return Diagnosis("too_short", "Too short to say", text)


def _ok(view: _View) -> Diagnosis:
    text = f"{view.name} went from {view.says(0)} to {view.says(-1)}; nothing stands out."
    return Diagnosis("ok", "Looks healthy", text)


def to_json(found: Iterable[Diagnosis]) -> list[dict[str, Any]]:
    """The findings as plain values."""
    return [{"kind": d.kind, "title": d.title, "text": d.text} for d in found]
