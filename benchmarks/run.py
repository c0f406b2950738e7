"""`python -m benchmarks.run [NAME …] [--quick]`: runs benchmarks, prints their tables, stores them as JSON."""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

from benchmarks import harness

NAMES = (
    "training", "hyperband", "growth", "overhead", "empty_trials", "report_latency", "engine", "scaling", "suggesting",
    "feeding", "asking", "starting", "listing", "looking", "watching",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """0 if every benchmark ran, whether its targets were met or not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smaller and less sure")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and children are ended on the way out
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"a benchmark is one of {', '.join(NAMES)}, but got {', '.join(unknown)}")
    failed = [name for name in given.names or NAMES if not run_one(name, quick=given.quick)]
    if failed:
        print(f"did not run to the end: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run_one(name: str, *, quick: bool) -> bool:
    """Run, print and store one benchmark; False when it broke."""
    module = importlib.import_module(f"benchmarks.{name}")
    facts = harness.machine()
    print(f"\n## {name}{' (quick)' if quick else ''}\n\n{module.__doc__}", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-", ignore_cleanup_errors=True) as scratch:
        try:
            outcome = module.run(harness.Options(quick=quick, scratch=Path(scratch)))
        except Exception:
            traceback.print_exc()
            return False
    facts["load_1_min_after"] = harness.load()
    path = harness.write(name, outcome, quick=quick, facts=facts)
    loads = f"load {facts['load_1_min']} → {facts['load_1_min_after']}"
    print(harness.text(outcome))
    print(
        f"\n{time.monotonic() - began:.0f} s on {facts['cpus']} × {facts['cpu']}, {loads}; stored in {path}", flush=True
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
