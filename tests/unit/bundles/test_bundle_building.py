"""Bundles of folders: the same files give the same bytes, and only what belongs in goes in."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.bundles.archive import Limits, fact, modules
from hpo_service.bundles.building import from_files, from_folder
from hpo_service.bundles.checking import check
from hpo_service.errors import InvalidInput, TooLarge

Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes files below a folder of that name; "name -> target" makes a link."""

    def make(*names: str, folder: str = "home", **contents: str) -> Path:
        root = tmp_path / folder
        for name, text in {**dict.fromkeys(names, "x"), **contents}.items():
            path = root / name.partition(" -> ")[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            if " -> " in name:
                path.symlink_to(name.partition(" -> ")[2])
            else:
                path.write_text(text)
        return root

    return make


def names(folder: Path) -> list[str]:
    return list(from_folder(folder).manifest)


def ignoring(root: Path, **rules: str) -> None:
    for place, text in rules.items():
        (root / ("" if place == "top" else place) / ".gitignore").write_text(text)


NAME = st.text(st.characters(codec="utf-8", exclude_characters='/\\\0"', exclude_categories=["C"]), min_size=1,
               max_size=12).filter(lambda name: name not in (".", "..") and name[1:2] != ":")  # fmt: skip
FILES = st.dictionaries(st.lists(NAME, min_size=1, max_size=3).map("/".join), st.binary(max_size=200), min_size=1,
                        max_size=6)  # fmt: skip


def _storable(files: dict[str, bytes]) -> bool:
    """No name twice for a disk without capitals, and none both file and folder."""
    folded = [name.casefold() for name in files]
    folders = {"/".join(name.split("/")[:size]) for name in folded for size in range(1, name.count("/") + 1)}
    return len(set(folded)) == len(folded) and not folders & set(folded)


@settings(max_examples=80, deadline=None)
@given(FILES.filter(_storable))
def test_what_is_built_is_what_is_checked_in_any_order(files: dict[str, bytes]) -> None:
    built = from_files(files)
    again = from_files(dict(reversed(files.items())))
    assert built.archive == again.archive
    assert check(io.BytesIO(built.archive)) == built.manifest == {n: fact(files[n]) for n in sorted(files)}


@settings(max_examples=40, deadline=None)
@given(FILES.filter(_storable), st.data())
def test_another_byte_is_another_bundle(files: dict[str, bytes], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(files)))
    assert from_files(files).digest != from_files({**files, name: files[name] + b"!"}).digest


def test_times_modes_and_places_do_not_matter(tree: Tree, tmp_path: Path) -> None:
    first = tree("train.py", "pkg/a.py")
    shutil.copytree(first, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "train.py").chmod(0o755)
    os.utime(tmp_path / "elsewhere" / "pkg" / "a.py", (1, 1))
    assert from_folder(first).digest == from_folder(tmp_path / "elsewhere").digest


def test_caches_environments_secrets_and_the_servers_data_stay_at_home(tree: Tree) -> None:
    root = tree(
        "train.py", ".git/HEAD", "a/__pycache__/x.py", "mine/pyvenv.cfg", "mine/lib/x.py", "conda/conda-meta/x",
        "conda/bin/x", "served/hpo.db", "served/storage/x", "hpo-data/x", "left.pyc", ".env", "a/.env", "own/x",
    )  # fmt: skip
    assert list(from_folder(root, leave_out=[root / "own"]).manifest) == ["train.py"]


def test_gitignore_counts_at_every_level(tree: Tree) -> None:
    root = tree("train.py", "a.csv", "keep.csv", "pkg/b.csv", "pkg/c.csv", "pkg/sub/d.log", "e.log", "out/f.py")
    ignoring(root, top="*.csv\n!keep.csv\n/out/\n", pkg="!c.csv\n*.log\n")
    kept = [name for name in names(root) if not name.endswith(".gitignore")]
    assert kept == ["e.log", "keep.csv", "pkg/c.csv", "train.py"]


def test_gitignore_of_the_repository_above_counts(tree: Tree) -> None:
    root = tree(".git/HEAD", "sub/train.py", "sub/model.pt", "sub/data/x")
    ignoring(root, top="*.pt\n/sub/data\n")
    assert names(root / "sub") == ["train.py"]


def test_gitignore_above_no_repository_does_not(tree: Tree) -> None:
    root = tree("sub/train.py")
    ignoring(root, top="*\n")
    assert names(root / "sub") == ["train.py"]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(["*.a", "!x.a", "d/", "/d", "d/*.b", "!d/y.b", "**/y.b", "d/e", "#x", "x.?"]), max_size=4),
    st.lists(st.sampled_from(["*.b", "!y.b", "e/", "!x.a", "/x.a"]), max_size=3),
)
def test_gitignore_means_what_it_means_to_git(top: list[str], inner: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("x.a", "y.b", "d/x.a", "d/y.b", "d/e/x.a", "d/e/y.b", "z.c"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("x")
        ignoring(root, top="\n".join(top) + "\n", d="\n".join(inner) + "\n")
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        told = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, check=True, capture_output=True, text=True
        )
        assert names(root) == sorted(told.stdout.splitlines())


def test_links_that_stay_are_followed(tree: Tree) -> None:
    root = tree("real/a.py", "b.py -> real/a.py", "again -> real", "broken -> nothing")
    assert names(root) == ["again/a.py", "b.py", "real/a.py"]


def test_links_that_leave_are_refused_by_name(tree: Tree) -> None:
    tree("secret", folder="outside")
    root = tree("train.py", "data/key -> ../../outside/secret")
    with pytest.raises(InvalidInput, match=r"stay inside the folder.*data/key.*outside/secret.*gitignore"):
        names(root)
    ignoring(root, top="key\n")
    assert "train.py" in names(root)


def test_links_in_a_circle_are_refused_by_name(tree: Tree) -> None:
    with pytest.raises(InvalidInput, match=r"'a/up' leads to a folder that it lies in"):
        names(tree("a/train.py", "a/up -> ../a"))


def test_special_files_are_refused_by_name(tree: Tree) -> None:
    root = tree("train.py")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(root / "listens"))
        with pytest.raises(InvalidInput, match="'listens' is a socket"):
            names(root)


def test_too_much_names_the_largest_files(tree: Tree) -> None:
    root = tree("train.py", **{"data/big.csv": "x" * 3000, "small.csv": "x" * 200})
    with pytest.raises(TooLarge, match=r"at most 2 KiB.*3.13 KiB.*the most in data/big.csv \(2.93 KiB\), small.csv"):
        from_folder(root, limits=Limits(archive_bytes=2048))


def test_too_many_files_name_the_fullest_folder(tree: Tree) -> None:
    root = tree("train.py", *(f"images/{i}" for i in range(9)))
    with pytest.raises(TooLarge, match=r"at most 5 files.*has 10, 9 of them in 'images'"):
        from_folder(root, limits=Limits(files=5))


@pytest.mark.parametrize("place", ["nowhere", "home/train.py"])
def test_what_is_no_folder_is_refused(tree: Tree, tmp_path: Path, place: str) -> None:
    tree("train.py")
    with pytest.raises(InvalidInput, match="code is a folder"):
        from_folder(tmp_path / place)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="at least one file"):
        from_folder(tmp_path)


def test_modules_are_those_that_can_be_imported() -> None:
    assert modules(["train.py", "pkg/__init__.py", "pkg/a.py", "data/x.csv", "README.md"]) == ["pkg", "train"]
