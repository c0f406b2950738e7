"""The artifacts' root as the server sees it: confined, whole or not at all, and cleared study by study."""

from __future__ import annotations

import io
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_service.artifact_files import ArtifactFiles, location_of
from hpo_service.errors import NotFound, Unavailable


def ident() -> str:
    return uuid.uuid4().hex


@pytest.fixture(params=["folder", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactFiles:
    return ArtifactFiles(str(tmp_path / "root") if request.param == "folder" else f"memory://server-{ident()}")


def read(files: ArtifactFiles, location: str) -> bytes:
    with files.opened(location) as file:
        return file.read()


def test_files_are_put_read_and_removed(files: ArtifactFiles) -> None:
    assert files.studies() == []
    one, two, three = location_of("s1", 0, ident()), location_of("s1", 7, ident()), location_of("s2", 0, ident())
    for location in (one, two, three):
        files.put(location, io.BytesIO(location.encode()))
    assert read(files, two) == two.encode()
    assert files.studies() == ["s1", "s2"]
    files.remove([one, one])
    with pytest.raises(NotFound, match="gone"):
        read(files, one)
    files.remove_study("s1")
    files.remove_study("s1")
    with pytest.raises(NotFound):
        read(files, two)
    assert read(files, three) == three.encode()
    files.probe()
    assert "s1" not in files.studies()


def test_a_broken_source_leaves_nothing(files: ArtifactFiles) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("gone")

    location = location_of("s1", 0, ident())
    with pytest.raises(Unavailable, match="gone"):
        files.put(location, Broken())
    with pytest.raises(NotFound):
        read(files, location)


@given(st.text(max_size=60))
def test_no_other_place_is_ever_opened(text: str) -> None:
    files = ArtifactFiles("/")
    with pytest.raises(NotFound), files.opened(text):
        pass


@pytest.mark.parametrize("study", ["..", ".", "", "../etc", "/etc", "a/b"])
def test_only_a_study_is_cleared(tmp_path: Path, study: str) -> None:
    (tmp_path / "root" / "kept").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    ArtifactFiles(str(tmp_path / "root")).remove_study(study)
    assert (tmp_path / "root" / "kept").is_dir()
    assert (tmp_path / "etc").is_dir()


def test_a_root_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match=r"HPO_ARTIFACTS|cannot be"):
        ArtifactFiles(str(tmp_path / "file")).probe()
    with pytest.raises(Unavailable):
        ArtifactFiles("nosuchstore://x").probe()
