"""What an attempt ran with: the diff on top of the commit, kept once and apart; variables; what does not change."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from workers import environment

ASKED: dict[str, Any] = {"device": "cpu", "data": None, "run": {"method": "plain", "width": 1}}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "train.py").write_text("lr = 1\n")
    (tmp_path / ".gitignore").write_text("secret.py\n")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    return tmp_path


def test_the_diff_is_kept_with_new_files_and_without_ignored_ones(repository: Path) -> None:
    clean = environment.git_state(repository)
    assert clean is not None
    assert (clean["diff"], clean["diff_sha256"]) == (None, None)
    (repository / "train.py").write_text("lr = 2\n")
    (repository / "helper.py").write_text("momentum = 0.9\n")
    (repository / "secret.py").write_text("password = 'x'\n")
    (repository / "notes.txt").write_text("no code\n")
    changed = environment.git_state(repository)
    assert changed is not None
    assert changed["commit"] == clean["commit"]
    for part in ("-lr = 1", "+lr = 2", "+momentum = 0.9", "b/helper.py"):
        assert part in changed["diff"], part
    assert "password" not in changed["diff"]
    assert "no code" not in changed["diff"]
    assert environment.git_state(repository) == changed, "the same again"


def test_a_long_diff_keeps_its_beginning_and_the_digest_of_all(repository: Path) -> None:
    (repository / "train.py").write_text("".join(f"x{i} = {i}\n" for i in range(30_000)))
    one = environment.git_state(repository)
    (repository / "train.py").write_text("".join(f"x{i} = {i}\n" for i in range(30_001)))
    other = environment.git_state(repository)
    assert one is not None
    assert other is not None
    assert len(one["diff"]) == len(other["diff"]) == environment.DIFF_LIMIT_BYTES
    assert one["diff_sha256"] != other["diff_sha256"]


def test_the_text_of_a_diff_stands_beside_the_environment(repository: Path) -> None:
    (repository / "train.py").write_text("lr = 2\n")
    code = {"entry_point": "train:main", "git": environment.git_state(repository)}
    found = environment.capture(code=code, **ASKED)
    git = found["code"]["git"]
    assert "diff" not in git
    assert "+lr = 2" in found["texts"][git["diff_sha256"]]
    bare = environment.capture(code={"entry_point": "train:main", "git": dict(git)}, **ASKED)
    assert bare["digest"] == found["digest"], "the digest is over what is stored"
    assert "texts" not in bare


def test_variables_count_and_are_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    without = environment.capture(code={}, **ASKED)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    within = environment.capture(code={}, **ASKED)
    assert "OMP_NUM_THREADS" not in without["variables"]
    assert within["variables"]["OMP_NUM_THREADS"] == "3"
    assert without["digest"] != within["digest"]


def test_everything_that_the_design_lists_is_there() -> None:
    import torch  # so that its part is captured, as on a worker

    found = environment.capture(code={"entry_point": "m:f"}, **ASKED)
    assert found["torch"]["version"] == torch.__version__, "though it was captured before torch was there"
    for name in ("python", "os", "cpu", "cores", "packages", "gpu", "code", "data", "run", "hash_randomization"):
        assert name in found, name
    flags = environment.determinism(asked=True)
    assert {"asked", "algorithms", "cudnn_benchmark", "allow_tf32", "threads"} <= set(flags)
