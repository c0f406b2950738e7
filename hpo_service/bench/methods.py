"""All methods that can be measured, by name: the service's own and its peers. Runs none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from hpo_service.bench import ours, peers
from hpo_service.bench.runs import Method
from hpo_service.errors import InvalidInput

__all__ = ["Method", "chosen", "known"]


def known() -> Mapping[str, Method]:
    """Every method, the service's own first, whether what it requires is installed or not."""
    found: dict[str, Method] = {}
    for method in (*ours.methods(), *peers.methods()):
        if method.name in found:
            raise ValueError(f"a method's name must be unique, but {method.name!r} is given twice; rename one")
        found[method.name] = method
    return found


def chosen(names: Iterable[str]) -> tuple[list[Method], dict[str, str]]:
    """The methods of these names that can run here, and by name a line for each that cannot. A name may be `ours`,
    `peers` or `all`. Raises InvalidInput for an unknown name."""
    there = known()
    groups = {
        "all": list(there.values()),
        "ours": [method for method in there.values() if not method.peer],
        "peers": [method for method in there.values() if method.peer],
    }
    wanted: dict[str, Method] = {}
    for name in names:
        if name not in groups and name not in there:
            near = difflib.get_close_matches(name, [*there, *groups], n=1)
            raise InvalidInput(
                f"a method is one of {', '.join(there)}, or ours, peers or all, but got {name!r}",
                remedy=f"did you mean {near[0]}?" if near else "`hpo bench methods` lists them",
            )
        wanted |= {method.name: method for method in groups.get(name) or [there[name]]}
    left_out = {
        method.name: f"{method.name} is left out: it needs {', '.join(method.missing())}, which is not installed"
        for method in wanted.values()
        if method.missing()
    }
    return [method for method in wanted.values() if not method.missing()], left_out
