"""Code that users bring, with the real `hpo`, a real server and a real Ray: a folder, a script, a notebook."""

from __future__ import annotations

import json
import linecache
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import httpx
import pytest

import hpo_service as hpo
from hpo_service.errors import InvalidInput
from tests.acceptance.conftest import Hpo
from tests.acceptance.processes import Server

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]
EXAMPLES = Path(__file__).parents[2] / "examples"
TRAIN = """
import workers                  # a file of one's own, called like a package of the service
from pathlib import Path


def main(trial):
    goal = float(Path("goal.txt").read_text())
    for step in range(1, 4):
        trial.report(step, loss=workers.distance(trial.params["x"], goal) / step)
"""
STUDY: dict[str, Any] = {
    "name": "own-code",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "uniform", "low": 0.0, "high": 1.0}},
    "algorithm": {"name": "random"},
    "trainer": {"function": "train:main"},
    "budget": {"trials": 3},
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of code, with what does not belong into a bundle."""
    folder = tmp_path / "project"
    folder.mkdir()
    files = {
        "train.py": TRAIN,
        "workers.py": "def distance(a, b):\n    return abs(a - b)\n",
        "goal.txt": "0.25",
        "study.yaml": json.dumps(STUDY),
        ".gitignore": "*.log\n",
        "old.log": "x",
        ".env": "TOKEN=secret",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_a_folder_is_submitted_uploaded_once_and_trained(
    command: Hpo, client: hpo.Client, rest: httpx.Client, project: Path
) -> None:
    said = command("submit", project / "study.yaml", "--code", project)
    assert "code: 5 files" in said
    assert "(sent)" in said
    assert not client.upload_code(project).uploaded
    study = client.study("own-code").wait(timeout_s=120)
    assert study.state == "finished", study.info
    trial = study.best()[0].refresh()
    assert trial.value == pytest.approx(abs(trial.params["x"] - 0.25) / 3)
    digest = study.info.definition["trainer"]["bundle"]
    files = [file["name"] for file in rest.get(f"/bundles/{digest}").json()["files"]]
    assert files == [".gitignore", "goal.txt", "study.yaml", "train.py", "workers.py"]
    attempt = rest.get(f"/studies/{study.id}/trials/{trial.number}").json()["attempt_rows"][0]
    assert attempt["code_digest"]
    context = rest.get(f"/studies/{study.id}/trials/{trial.number}/context").json()
    assert digest in json.dumps(context["environments"]), "what is recorded names the bundle"


def test_an_error_at_import_ends_the_study_with_a_traceback_of_the_users_file(
    client: hpo.Client, project: Path
) -> None:
    (project / "train.py").write_text("import workers\n\nworkers.distence(1, 2)\n")
    study = client.create_study(project / "study.yaml", code=project).wait(timeout_s=60)
    assert study.state == "failed"
    assert "distence" in study.info.reason
    assert "train.py" in study.info.reason


def test_unknown_code_is_refused_before_anything_starts(client: hpo.Client) -> None:
    with pytest.raises(InvalidInput, match=r"trainer\.bundle.*hpo submit FILE --code FOLDER"):
        client.create_study({**STUDY, "trainer": {"function": "train:main", "bundle": "0" * 64}})


def test_the_plain_script_runs_as_a_study(server: Server, client: hpo.Client) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HPO_")}
    done = subprocess.run(
        [sys.executable, "plain_pytorch.py"], cwd=EXAMPLES, env={**kept, "HPO_URL": server.url},
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "best: 0." in done.stdout
    study = client.study("plain-pytorch")
    assert study.info.definition["trainer"]["function"] == "hpo_objective:train"
    assert study.best_value is not None
    assert study.best_value > 0.8


def test_the_notebook_runs_cell_by_cell(server: Server, client: hpo.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """As IPython runs them: one namespace, each cell's source kept where `inspect` looks for it."""
    monkeypatch.setenv("HPO_URL", server.url)
    main = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", main)
    cells = json.loads((EXAMPLES / "notebook.ipynb").read_text())["cells"]
    for number, cell in enumerate(cell for cell in cells if cell["cell_type"] == "code"):
        name, source = f"<ipython-input-{number}>", "".join(cell["source"])
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec", dont_inherit=True), main.__dict__)
    study = client.study("notebook")
    assert study.state == "finished"
    assert study.best_value == main.__dict__["best"].value
    assert study.info.trials == 10
