"""Bundles that nothing names go with their archives, and others stay."""

from __future__ import annotations

import io
from pathlib import Path

from hpo_service import storage
from hpo_service.bundles.building import from_files
from hpo_service.controller.tidying import tidy
from hpo_service.store import bundles, studies
from hpo_service.store.database import open_database
from tests.storelib import definition


def test_archives_go_when_no_study_names_them_and_their_retention_is_over(tmp_path: Path) -> None:
    db = open_database(f"sqlite:///{tmp_path / 'hpo.db'}")
    root = tmp_path / "storage"
    made = [from_files({"train.py": text}) for text in (b"1", b"2")]
    for bundle in made:
        storage.store(root, storage.bundle_path(bundle.digest), io.BytesIO(bundle.archive))
        bundles.put_bundle(
            db, digest=bundle.digest, size_bytes=bundle.size, files={}, project="default", created_by="ada"
        )
    named, unnamed = (root / storage.bundle_path(bundle.digest) for bundle in made)
    trainer = {"function": "train:main", "bundle": made[0].digest}
    studies.create_study(db, definition(trainer=trainer), created_by="ada")
    tidy(db, root, retention_days=1)
    assert named.is_file()
    assert unnamed.is_file(), "it was uploaded just now"
    tidy(db, root, retention_days=-1)
    assert named.is_file()
    assert not unnamed.exists()
    assert bundles.find_bundle(db, made[1].digest) is None
    db.close()
