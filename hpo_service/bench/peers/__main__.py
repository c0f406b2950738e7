"""Peers in an environment of their own: `python -m hpo_service.bench.peers --data FOLDER --out FILE METHOD …`.

For libraries that do not go together with the service's own dependencies. Needs numpy, pydantic and what the methods
name (LCBench's surrogate onnxruntime); adds runs to FILE, a JSON line each, and leaves out those that are there.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from pathlib import Path

from hpo_service.bench import problems, protocol
from hpo_service.bench.peers import methods
from hpo_service.bench.runs import Key, Run


def main(given: list[str] | None = None) -> int:
    """Run what is asked for; 2 where a method is unknown or not installed."""
    asked = _arguments().parse_args(given)
    there = {method.name: method for method in methods()}
    wrong = [_wrong(name, there[name].missing() if name in there else None) for name in asked.methods]
    if any(wrong):
        print("\n".join(one for one in wrong if one), file=sys.stderr)
        return 2
    warnings.simplefilter("ignore")  # the libraries' own, about themselves
    loaded = [one for name in asked.collection for one in problems.load(asked.data, name, tuple(asked.task))]
    by_title = {one.title: one for one in loaded}
    done = _done(asked.out)
    cells = protocol.cells(
        methods=asked.methods, titles=list(by_title), seeds=asked.seeds, workers=asked.workers, budget=asked.budget
    )
    with asked.out.open("a") as out:
        for cell in cells:
            if cell.key not in done:
                found = there[cell.method].search(by_title[cell.title], cell.seed, cell.workers, cell.budget)
                out.write(json.dumps(found.to_json()) + "\n")
                out.flush()
    return 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hpo_service.bench.peers", description=__doc__)
    parser.add_argument("methods", nargs="+", help="which peers: " + ", ".join(method.name for method in methods()))
    parser.add_argument("--data", type=Path, required=True, help="folder that holds lcbench/ and taskset/")
    parser.add_argument("--out", type=Path, required=True, help="file of runs to add to")
    parser.add_argument("--collection", nargs="+", default=list(protocol.TOGETHER))
    parser.add_argument("--task", nargs="*", default=[], help="of one collection; all where none is named")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--budget", type=float, default=None, help="FTE; by the number of workers if not given")
    return parser


def _wrong(name: str, missing: tuple[str, ...] | None) -> str:
    if missing is None:
        return f"a peer must be one of {', '.join(method.name for method in methods())}, but got {name!r}"
    return f"{name} needs {', '.join(missing)}, which is not installed here; install it" if missing else ""


def _done(path: Path) -> set[Key]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return set()
    return {Run.from_json(json.loads(line)).key for line in path.read_text().splitlines()}


if __name__ == "__main__":
    sys.exit(main())
