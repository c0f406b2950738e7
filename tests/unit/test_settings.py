"""Settings come from the environment, with clear refusals, and each is documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hpo_service.errors import InvalidInput
from hpo_service.settings import PREFIX, Settings, load_settings

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "settings.md"


def test_every_setting_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"^\| `(HPO_[A-Z_]+)`", DOCUMENT.read_text(), flags=re.MULTILINE))
    assert documented == {PREFIX + name.upper() for name in Settings.model_fields}


def test_defaults_are_an_embedded_loopback_server() -> None:
    settings = load_settings({})
    assert settings.is_loopback
    assert settings.resolved_database_url.startswith("sqlite:////")
    assert settings.resolved_storage.name == "storage"
    assert settings.resolved_url == "http://127.0.0.1:8421"


def test_the_environment_is_overridden_by_keywords_and_empty_means_unset() -> None:
    settings = load_settings({"HPO_PORT": "9000", "HPO_HOST": ""}, port=9001)
    assert (settings.port, settings.host) == (9001, "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "value"), [("HPO_PORT", "70000"), ("HPO_LEASE_S", "soon"), ("HPO_GPU_HOUR_DOLLARS", "-1")]
)
def test_an_unusable_value_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=name) as refusal:
        load_settings({name: value})
    assert refusal.value.problems[0].value == value


def test_an_ipv6_address_is_bracketed() -> None:
    assert load_settings({"HPO_HOST": "::1"}).resolved_url == "http://[::1]:8421"


def test_the_token_is_not_shown() -> None:
    assert "s3cret" not in repr(load_settings({"HPO_TOKEN": "s3cret"}))
