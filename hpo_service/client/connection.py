"""Where the server is and how it is reached: from arguments, else the settings (`HPO_URL`, `HPO_TOKEN`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from hpo_service.errors import InvalidInput
from hpo_service.settings import load_settings

CONNECT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The server's address without a trailing slash, the bearer token ("" for none), the timeout."""

    url: str
    token: str
    timeout_s: float

    def http_options(self) -> dict[str, Any]:
        """Keyword arguments of httpx's clients."""
        import httpx  # loaded with the first client, so that importing the package stays fast

        headers = {"User-Agent": f"hpo-service/{version()}"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        timeout = httpx.Timeout(self.timeout_s, connect=min(CONNECT_S, self.timeout_s))
        return {"base_url": self.url, "headers": headers, "timeout": timeout, "trust_env": not _is_loopback(self.url)}


def connection(url: str | None, token: str | None, timeout_s: float) -> Connection:
    """The connection of a client; raises `InvalidInput` for an address that is not one."""
    settings = load_settings(url=url or None, token=token or None)
    found = settings.resolved_url.rstrip("/")
    parts = urlsplit(found)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput(
            f"the server's address is http://host:port or https://host, but got {found!r}", remedy="correct HPO_URL"
        )
    if timeout_s <= 0:
        raise InvalidInput(f"timeout_s must be above 0, but got {timeout_s}", remedy="30 is the default")
    return Connection(url=found, token=settings.token, timeout_s=timeout_s)


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in ("127.0.0.1", "localhost", "::1")


def version() -> str:
    """The installed version; "0" where the package is not installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("hpo-service")
    except PackageNotFoundError:
        return "0"
