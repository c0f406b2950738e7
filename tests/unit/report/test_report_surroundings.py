"""What a report says of an environment: what a worker records, and whatever else may stand there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hpo_service.report.surroundings import facts
from workers import environment

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
NAMES = ("python", "os", "cpu", "cores", "gpu", "packages", "torch", "numpy", "code", "data", "run", "variables")


def test_what_a_worker_records_is_told() -> None:
    document = environment.capture(
        device="cpu",
        code={"recipe": "image_classifier", "sha256": "ab", "git": {"commit": "c0ffee", "diff_sha256": "d1"}},
        data={"name": "digits", "rows": 1797},
        run={"method": "fused", "width": 8},
    )
    document |= {
        "gpu": {"name": "NVIDIA H200", "memory_bytes": 139 * 2**30, "driver": "550.54"},
        "torch": {"version": "2.13", "cuda": "13.0", "cudnn": 90100},
        "numpy": {"blas": "openblas 0.3"},
    }
    told = dict(facts(document))
    assert told["GPU"] == "NVIDIA H200 (139 GiB), driver 550.54"
    assert told["Libraries"] == "CUDA 13.0, cuDNN 90100, openblas 0.3"
    assert told["Git"] == "c0ffee, with changes"
    assert told["Data"] == "name digits, rows 1,797"
    assert told["Trained"] == "method fused, width 8"
    assert told["Code"] == "recipe image_classifier, sha256 ab"
    assert "numpy" in told["Packages"]
    assert told["Python"].startswith("CPython 3.")


@given(st.dictionaries(st.sampled_from(NAMES), ANY))
def test_no_document_is_too_strange(document: dict[str, object]) -> None:
    assert all(isinstance(value, str) for _, value in facts(document))
