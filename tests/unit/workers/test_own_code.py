"""A bundle's modules in a process of their own: found by the bundle's files, and by nobody else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, sys
import json.decoder, workers.functions as functions, workers.own_code as own_code
own_code.join(sys.argv[1], "d" * 64)
try:
    found = functions.find(sys.argv[2])()
    told = functions.describe(sys.argv[2])
    import workers
    print(json.dumps({"found": found, "told": told, "ours": hasattr(workers, "functions")}))
except Exception as error:
    print(json.dumps({"error": f"{type(error).__name__}: {error}"}))
"""


def call(folder: Path, path: str, **files: str) -> dict[str, object]:
    """What the function of that path gives in a process that joined a bundle of these files."""
    for name, text in files.items():
        place = folder / f"{name.replace('_in_', '/')}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), path], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize(
    "line",
    [
        "import workers; f = workers.f",
        "from workers import f",
        "import workers as w; f = w.f",
        "def f():\n    import workers\n    return workers.f()",
        "from json import f",
        "import other; f = other.f",
    ],
)
def test_the_bundles_own_module_is_found_by_the_bundle(tmp_path: Path, line: str) -> None:
    mine = "def f():\n    return 'mine'\n"
    answer = call(tmp_path, "train:f", train=line, workers=mine, json=mine, other="from workers import f")
    assert answer["found"] == "mine"
    assert answer["ours"] is True, "ours stays what it is for everybody else"


def test_packages_and_their_parts_are_found(tmp_path: Path) -> None:
    answer = call(
        tmp_path,
        "train:f",
        train="import workers.deep.part\nfrom workers.deep import part, f as g\n"
        "def f():\n    return [workers.deep.part.NAME, part.NAME, g(), workers.TOP]\n",
        workers_in___init__="TOP = 'top'\n",
        workers_in_deep_in___init__="from . import part\nfrom workers.deep.part import NAME\n"
        "def f():\n    return NAME\n",
        workers_in_deep_in_part="from workers import TOP\nNAME = 'deep'\n",
    )
    assert answer["found"] == ["deep", "deep", "deep", "top"]


def test_the_entry_point_may_have_such_a_name(tmp_path: Path) -> None:
    answer = call(
        tmp_path, "workers.train:f", workers_in___init__="", workers_in_train="def f():\n    return __name__\n"
    )
    assert answer["found"] == "hpo_own_code.workers.train"
    assert isinstance(answer["told"], dict)
    assert answer["told"]["bundle"] == "d" * 64
    assert len(answer["told"]["sha256"]) == 64


def test_what_nothing_hides_is_imported_as_ever(tmp_path: Path) -> None:
    answer = call(tmp_path, "train:f", train="def f():\n    return __name__\n")
    assert answer["found"] == "train"


def test_what_the_bundle_lacks_is_told_with_what_it_has(tmp_path: Path) -> None:
    answer = call(tmp_path, "tarin:f", train="", workers="")
    assert "its modules are: train, workers" in str(answer["error"])


def test_without_a_bundle_nothing_is_recorded_or_renamed() -> None:
    from workers import own_code

    assert own_code.identity() == {}
    assert own_code.importable("workers.train") == "workers.train"
    assert own_code.missing("train") is None
