"""A function of a notebook, a prompt or a script, as the source of a module of its own: with the functions, classes,
constants and imports that it uses. Never a pickle: what cannot be written as source is refused by name.
"""

from __future__ import annotations
import __future__ as future

import ast
import builtins
import inspect
import linecache
import symtable
import sys
import textwrap
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hpo_service.client.constants import LONGEST, source_of
from hpo_service.errors import FieldProblem, InvalidInput

MODULE = "hpo_objective"
"""The name of the module that is made."""
_HEADER = '"""Made by hpo-service from a function and what it uses: not a file of its author\'s."""\n'
_ELSEWHERE = "make it inside the function, read it from a file there, or give it as trainer.params"


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A module's source, the name of the function in it, and the full names of modules that it imports."""

    source: str
    name: str
    imports: frozenset[str]


def capture(function: Callable[..., Any]) -> Captured:
    """The module of a function or class. Raises InvalidInput naming everything that cannot be captured, and why."""
    found = _Capture()
    name = getattr(function, "__name__", "")
    if not name.isidentifier():
        raise InvalidInput(
            f"an objective is a function with a name, but got {function!r}"[:200], remedy="write def train(trial): …"
        )
    found.define(name, function)
    if found.problems:
        raise InvalidInput.of(*found.problems)
    return Captured(source=found.module(), name=name, imports=frozenset(found.modules))


@dataclass
class _Capture:
    """What was captured so far, in the order in which it must stand."""

    modules: set[str] = field(default_factory=set)
    imports: set[str] = field(default_factory=set)
    constants: dict[str, str] = field(default_factory=dict)
    definitions: dict[str, str] = field(default_factory=dict)  # by what they define
    values: dict[str, Any] = field(default_factory=dict)  # by name, to notice two of one name
    problems: list[FieldProblem] = field(default_factory=list)
    postponed: bool = False  # whether annotations are not evaluated

    def module(self) -> str:
        """The whole source."""
        head = "from __future__ import annotations\n" if self.postponed else ""
        parts = [_HEADER + head, "".join(f"{line}\n" for line in sorted(self.imports))]
        parts.append("".join(f"{name} = {value}\n" for name, value in self.constants.items()))
        return "\n".join([part for part in parts if part] + [f"\n{text}" for text in self.definitions.values()])

    def refuse(self, name: str, rule: str, remedy: str = _ELSEWHERE) -> None:
        self.problems.append(FieldProblem(path=name, rule=rule, remedy=remedy))

    def take(self, name: str, value: Any, user: str) -> None:
        """Capture the global `name`, which `user` uses."""
        if name in self.values:
            if not _same(self.values[name], value):
                self.refuse(name, f"{name} means two things in what is captured", "rename one of them")
            return
        self.values[name] = value
        if isinstance(value, types.ModuleType):
            self.take_module(name, value)
        elif isinstance(value, type) or (callable(getattr(value, "__wrapped__", value)) and _origin(value)):
            self.take_callable(name, value)
        else:
            self.take_constant(name, value, user)

    def take_module(self, name: str, module: types.ModuleType) -> None:
        full = module.__name__
        if full == "__main__":
            self.refuse(name, "the module __main__ is not on the workers", "name what is used of it")
            return
        self.modules.add(full)
        self.imports.add(f"import {full}" if name == full else f"import {full} as {name}")

    def take_callable(self, name: str, value: Any) -> None:
        """A function or class: imported where a module has it, else written out."""
        home = _origin(value)
        module = sys.modules.get(home or "")
        called = getattr(value, "__qualname__", name)
        if home not in (None, "__main__") and _attribute(module, called) is value and "." not in called:
            self.modules.add(str(home))
            self.imports.add(f"from {home} import {called}" + ("" if called == name else f" as {name}"))
            return
        self.define(name, value)

    def take_constant(self, name: str, value: Any, user: str) -> None:
        text, imported = source_of(value)
        self.imports |= {f"import {module}" for module in imported}
        if text is None:
            kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
            self.refuse(name, f"{user} uses {name}, a {kind}, which cannot be written as source")
        elif len(text) > LONGEST:
            self.refuse(name, f"{user} uses {name}, whose source would be {len(text)} characters, over {LONGEST}")
        else:
            self.constants[name] = text

    def define(self, name: str, value: Any) -> None:
        """Write out a function or class, and all that it uses before it."""
        self.values[name] = value
        target = inspect.unwrap(value) if callable(value) and not isinstance(value, type) else value
        try:
            text = _source(name, target)
        except (OSError, TypeError, SyntaxError):
            self.refuse(
                name,
                f"the source of {name} cannot be found",
                "define it in a notebook's cell or a file, with def or class",
            )
            return
        called = getattr(target, "__name__", name)
        if called in self.definitions:
            return
        self.postponed |= _postpones(target)
        known = _names_known_to(target)
        uses = _uses(text, called, postponed=_postpones(target))
        for one in sorted(uses.names):
            if one in known:
                self.take(one, known[one], called)
            elif not hasattr(builtins, one) and one not in uses.idle:
                self.refuse(one, f"{called} uses {one}, which is not defined", "define it before, or correct the name")
        for chain in sorted(uses.chains):
            if chain in sys.modules and isinstance(known.get(chain.partition(".")[0]), types.ModuleType):
                self.modules.add(chain)
                self.imports.add(f"import {chain}")
        self.definitions[called] = text + (
            "" if called == name or text.startswith(f"{name} =") else f"\n{name} = {called}\n"
        )


@dataclass(frozen=True)
class _Uses:
    """Names from outside that a piece of source reads, and dotted chains that begin with one: `torch.nn.functional`."""

    names: frozenset[str]
    chains: frozenset[str]
    idle: frozenset[str]  # names that only stand in annotations which nobody evaluates


def _uses(text: str, own: str, *, postponed: bool) -> _Uses:
    tree = ast.parse(text)
    names = _outside(text) - {own}
    idle = names - _outside(ast.unparse(_Bare().visit(ast.parse(text)))) if postponed else frozenset()
    chains = {chain for node in ast.walk(tree) if (chain := _chain(node)) and chain.partition(".")[0] in names}
    return _Uses(names, frozenset(chains), idle)


class _Bare(ast.NodeTransformer):
    """Takes annotations out."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:  # ast calls it so
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:  # ast calls it so
        node.annotation = ast.Constant(value=None)
        return self.generic_visit(node)


def _outside(text: str) -> frozenset[str]:
    """Names that the text reads and does not define."""
    table = symtable.symtable(text, "captured", "exec")
    bound = {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    return frozenset(_free(table, top=True)) - bound


def _free(table: symtable.SymbolTable, *, top: bool) -> Iterator[str]:
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _free(child, top=False)


def _chain(node: ast.AST) -> str:
    """`a.b.c` of such an expression, else nothing."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if parts and isinstance(node, ast.Name) else ""


def _same(one: Any, other: Any) -> bool:
    """The same thing, or written alike; `==` may mean anything."""
    return one is other or (source_of(one)[0] is not None and source_of(one) == source_of(other))


def _origin(value: Any) -> str | None:
    """The module in which a function or class was defined; None for anything else."""
    target = inspect.unwrap(value) if callable(value) and not isinstance(value, type) else value
    if isinstance(target, types.BuiltinFunctionType | types.FunctionType | type) or callable(value):
        origin = getattr(target, "__module__", None)
        has_name = isinstance(getattr(target, "__name__", None), str)
        return origin if has_name and isinstance(origin, str) else None
    return None


def _attribute(module: Any, name: str) -> Any:
    return getattr(module, name, None)


def _names_known_to(target: Any) -> Mapping[str, Any]:
    """Globals of a function, or of a class's methods or module, and what a function closes over."""
    if isinstance(target, types.FunctionType):
        cells = zip(target.__code__.co_freevars, target.__closure__ or (), strict=True)
        return {**target.__globals__, **{name: cell.cell_contents for name, cell in cells if _filled(cell)}}
    for method in _methods(target):
        return _names_known_to(method)
    return vars(sys.modules[target.__module__]) if target.__module__ in sys.modules else {}


def _filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _methods(owner: type) -> Iterator[types.FunctionType]:
    """The functions that stand in the class's own text."""
    for value in vars(owner).values():
        inner = getattr(value, "__func__", getattr(value, "fget", value))
        inner = inspect.unwrap(inner) if callable(inner) else inner
        if isinstance(inner, types.FunctionType) and linecache.getlines(inner.__code__.co_filename):
            yield inner


def _postpones(target: Any) -> bool:
    functions = [target] if isinstance(target, types.FunctionType) else list(_methods(target))
    return any(one.__code__.co_flags & future.annotations.compiler_flag for one in functions)


def _source(name: str, target: Any) -> str:
    """The text that defines it, at the left margin. Raises OSError, TypeError or SyntaxError where there is none."""
    if isinstance(target, type):
        return _class_source(target)
    text = textwrap.dedent(inspect.getsource(target))
    tree = ast.parse(text)
    if target.__name__ == "<lambda>":
        first = tree.body[0] if len(tree.body) == 1 else None
        plain = isinstance(first, ast.Assign) and isinstance(first.value, ast.Lambda) and len(first.targets) == 1
        if not plain or not isinstance(first.targets[0], ast.Name) or first.targets[0].id != name:  # type: ignore[union-attr]
            raise OSError("a lambda within something else")
    return text.rstrip() + "\n"


def _class_source(owner: type) -> str:
    """Its text: found by one of its methods, else among the cells and files that hold a class of this name."""
    try:
        return textwrap.dedent(inspect.getsource(owner)).rstrip() + "\n"
    except (OSError, TypeError):
        pass
    files = [method.__code__.co_filename for method in _methods(owner)]
    cells = [file for file in reversed(list(linecache.cache)) if file.startswith("<") or "ipykernel" in file]
    for file in [*files, *cells]:
        lines = linecache.getlines(file)
        for node in reversed(_parsed(lines)):
            if isinstance(node, ast.ClassDef) and node.name == owner.__name__:
                first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
                return textwrap.dedent("".join(lines[first - 1 : node.end_lineno])).rstrip() + "\n"
    raise OSError(f"no source of {owner.__name__}")


def _parsed(lines: list[str]) -> list[ast.stmt]:
    try:
        return ast.parse("".join(lines)).body
    except SyntaxError:
        return []
