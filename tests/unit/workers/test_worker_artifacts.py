"""Artifacts of a trial: what is stored where, what is refused, and that nothing half-written can be seen."""

from __future__ import annotations

import hashlib
import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers import artifacts
from workers.contract import ArtifactStored, AttemptKey, Outcome, TrainerSpec, WorkOrder
from workers.errors import ArtifactError, StorageError
from workers.session import run_order

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
METRIC = "val_loss"


def order_in(root: Path, **changes: Any) -> WorkOrder:
    plain: dict[str, Any] = {
        "key": AttemptKey(study_id="s1", trial=3, fence=2),
        "trainer": TrainerSpec(function="nowhere:train"),
        "params": {},
        "seed": 1,
        "metric": METRIC,
        "metrics": (METRIC,),
        "from_resource": 0.0,
        "target_resource": 3.0,
        "horizon": math.inf,
        "storage_root": str(root / "storage"),
    }
    return WorkOrder(**{**plain, **changes})


def read_back(order: WorkOrder, stored: ArtifactStored) -> bytes:
    root = order.artifacts_root or f"{order.storage_root}/artifacts"
    with fsspec.open(f"{root}/{stored.location}", "rb") as file:
        return bytes(file.read())


@pytest.mark.parametrize("where", ["", "folder", "memory://artifacts-test"])
def test_a_file_is_copied_under_an_id_that_is_not_its_name(tmp_path: Path, where: str) -> None:
    root = str(tmp_path / where) if where == "folder" else where
    order = order_in(tmp_path, artifacts_root=root)
    source = tmp_path / "../x" / ".." / tmp_path.name / "curve.png"
    (tmp_path / "curve.png").write_bytes(PNG)
    (tmp_path.parent / "x").mkdir(exist_ok=True)
    stored = artifacts.store(order, source, name="plots/../../curve.png")
    assert stored.name == "plots/../../curve.png"
    assert stored.location == f"s1/3/{stored.artifact_id}"
    assert read_back(order, stored) == PNG
    assert stored.digest == hashlib.sha256(PNG).hexdigest()
    assert (stored.size_bytes, stored.media_type) == (len(PNG), "image/png")
    assert artifacts.store(order, tmp_path / "curve.png").artifact_id != stored.artifact_id


def test_a_folder_becomes_one_archive_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "deep" / "a.txt").write_text("a")
    (folder / "loop").symlink_to(folder)
    (folder / "gone").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe")  # reading it would wait for ever
    order = order_in(tmp_path)
    first, second = artifacts.store(order, folder), artifacts.store(order, folder)
    assert (first.name, first.media_type, first.digest) == ("plots.zip", "application/zip", second.digest)
    with zipfile.ZipFile(io.BytesIO(read_back(order, first))) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"b.txt": b"b", "deep/a.txt": b"a"}


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("root", ["", "memory://artifacts-large"])
def test_what_is_too_large_is_refused_and_leaves_nothing(tmp_path: Path, folder: bool, root: str) -> None:
    order = order_in(tmp_path, artifact_most_bytes=10, artifacts_root=root)
    place = tmp_path / "given"
    place.mkdir()
    (place / "file").write_bytes(b"x" * 11)
    with pytest.raises(ArtifactError, match=r"at most 10 bytes.*HPO_ARTIFACT_MAX_BYTES"):
        artifacts.store(order, place if folder else place / "file")
    if root:
        assert fsspec.filesystem("memory").find("/artifacts-large") == []
    else:
        assert [path for path in (tmp_path / "storage").rglob("*") if path.is_file()] == []


def test_what_is_no_file_is_refused_with_the_reason(tmp_path: Path) -> None:
    order = order_in(tmp_path)
    with pytest.raises(ArtifactError, match="does not exist"):
        artifacts.store(order, tmp_path / "nothing")
    with pytest.raises(ArtifactError, match="is not a file"):
        artifacts.store(order, "/dev/null")


def test_a_root_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "given").write_text("x")
    with pytest.raises(StorageError, match="HPO_ARTIFACTS"):
        artifacts.store(order_in(tmp_path, artifacts_root=str(tmp_path / "file")), tmp_path / "given")
    with pytest.raises(StorageError, match="HPO_ARTIFACTS"):
        artifacts.store(order_in(tmp_path, artifacts_root="nosuchstore://x"), tmp_path / "given")


@given(st.text(max_size=300))
def test_a_name_is_printable_or_refused(name: str) -> None:
    try:
        assert artifacts.checked_name(name).isprintable()
    except ArtifactError:
        assert not name.isprintable() or len(name) > 255 or not name.strip(" ./\\")


@pytest.mark.parametrize(
    ("name", "start", "kind"),
    [
        ("a.png", PNG, "image/png"),
        ("a.txt", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("a.png", b"<html>", "application/octet-stream"),  # a name alone makes no image
        ("a.html", b"<html>", "text/html"),
        ("weights", b"", "application/octet-stream"),
    ],
)
def test_images_are_known_by_their_bytes(name: str, start: bytes, kind: str) -> None:
    assert artifacts.media_type(name, start) == kind


USER_CODE = """
from pathlib import Path

def train(trial):
    Path("notes.txt").write_text("hello")
    trial.artifact("notes.txt")
    trial.report(1, val_loss=1.0)
    trial.artifact("notes.txt", name="after the report")
    for step in range(2, 9):
        trial.report(step, val_loss=1.0)

def careless(trial):
    trial.artifact("missing.txt")
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"artifact_code_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(USER_CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return name


def test_a_function_keeps_files_and_the_session_says_so(tmp_path: Path, code: str) -> None:
    order = order_in(tmp_path, trainer=TrainerSpec(function=f"{code}:train"))
    messages: list[Any] = []
    assert run_order(order, messages.append, lambda: None).outcome is Outcome.REACHED
    stored = [one for one in messages if isinstance(one, ArtifactStored)]
    assert [one.name for one in stored] == ["notes.txt", "after the report"]
    assert {one.key for one in stored} == {order.key}
    assert read_back(order, stored[1]) == b"hello"


def test_a_preflight_keeps_nothing(tmp_path: Path, code: str) -> None:
    order = order_in(tmp_path, trainer=TrainerSpec(function=f"{code}:train"), preflight=True)
    messages: list[Any] = []
    assert run_order(order, messages.append, lambda: None).outcome is Outcome.REACHED
    assert not any(isinstance(one, ArtifactStored) for one in messages)
    assert not (tmp_path / "storage" / "artifacts").exists()


def test_a_missing_file_fails_the_trial_with_what_to_change(tmp_path: Path, code: str) -> None:
    order = order_in(tmp_path, trainer=TrainerSpec(function=f"{code}:careless"))
    ended = run_order(order, lambda message: None, lambda: None)
    assert ended.outcome is Outcome.FAILED
    assert "missing.txt" in ended.reason
    assert "write it first" in ended.reason
    assert f"{code}.py" in ended.traceback
