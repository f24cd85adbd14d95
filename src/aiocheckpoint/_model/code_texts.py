"""Functions as texts: of their source without comments and positions, and of their code object."""

from __future__ import annotations

import ast
import inspect
import linecache
import re
import sys
from contextlib import suppress
from types import CodeType
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MINOR_VERSION", "code_text", "constant_text", "source_text"]

MINOR_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"

_FUTURES = 0x1FE0000
"""The flags of a code object for `from __future__ import ...`, as `compile` takes them."""
_CONSTANTS = frozenset({bool, int, float, complex, str, bytes, slice, type(...)})
_IMPORT_AT_MARGIN = re.compile(r"(?:from\s+\S+\s+)?import\b")
_IMPORT = re.compile(r"\s*(?:from\s+\S+\s+)?import\b")
_NAME = re.compile(r"\w+")
_MORE_LINES = 3
"""Lines behind the last one that has code: brackets are closed there."""

_TRIES = 20
"""How often a tree is made. Two threads meet seldom, and hardly ever again."""

_Function = ast.FunctionDef | ast.AsyncFunctionDef
_Result = TypeVar("_Result")


def source_text(function: Any, code: CodeType) -> str | None:  # noqa: ANN401 - any function
    """The syntax tree of a function as a text, None where its source is not to be had.

    A source counts only if it compiles to the very code that runs: the file may have been edited
    since it was imported. That of a lambda is never taken, as it is in the midst of a statement.

    Args:
        function: The function.
        code: Its code object.
    """
    if code.co_name == "<lambda>":
        return None
    running = code_text(code)
    for lines in _sources(code.co_filename, getattr(function, "__globals__", None)):
        node = _definition(lines[code.co_firstlineno - 1 :], code)
        if node is not None and any(
            _compiles_to(running, node, code, imported) for imported in _imported(lines, code)
        ):
            return _tree_text(node)
    return None


def _sources(filename: str, namespace: dict[str, Any] | None) -> Iterator[list[str]]:
    """The lines of a file as `linecache` has them, then as they are now if they have changed."""
    known = linecache.getlines(filename, namespace)
    yield known
    linecache.checkcache(filename)
    now = linecache.getlines(filename, namespace)
    if now != known:
        yield now


def _imported(lines: list[str], code: CodeType) -> Iterator[list[str]]:
    """Guess the names that a function has from imports of its module.

    Python compiles calls of their attributes in another way. Imports that are indented may be
    those of another function, or stand under an `if` of the module.
    """
    lines = [*lines[: code.co_firstlineno - 1], *lines[_last_line(code) :]]
    used = {name for one in _with_inner(code) for name in one.co_names}
    for importing in (_IMPORT_AT_MARGIN, _IMPORT):
        found = {name for line in _imports(lines, importing) for name in _NAME.findall(line)}
        yield sorted(found & used)


def _imports(lines: list[str], importing: re.Pattern[str]) -> Iterator[str]:
    """The lines of imports, without the names of modules that are imported from."""
    inside = False
    for line in lines:
        found = importing.match(line)
        if found is not None or inside:
            rest = line if found is None else line[found.end() :]
            inside = ")" not in line and (inside or "(" in line)
            yield rest


def _definition(lines: list[str], code: CodeType) -> _Function | None:
    """The definition of a function at the beginning of some lines."""
    if not lines:
        return None
    end = _last_line(code) - code.co_firstlineno + 1
    for count in range(end, end + _MORE_LINES):
        if (node := _parsed(lines[:count], code.co_name)) is not None:
            return node
    return None


def _last_line(code: CodeType) -> int:
    """The last line of a function that has code."""
    ends = [end or line or 0 for line, end, _, _ in code.co_positions()]
    return max([code.co_firstlineno, *ends, *map(_last_line, _inner(code))])


def _parsed(lines: list[str], name: str) -> _Function | None:
    head = "if True:\n" if lines[0][:1].isspace() else ""
    try:
        body = _repeated(lambda: ast.parse(head + "".join(lines))).body
    except (SyntaxError, SystemError, ValueError, RecursionError, MemoryError):
        return None
    node = body[0] if body else None
    if head and isinstance(node, ast.If):
        node = node.body[0]
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
        return node
    return None


def _compiles_to(running: str, node: _Function, code: CodeType, imported: list[str]) -> bool:
    """Whether a definition makes a code object of the text given, but for its position.

    Compiling it inside of another function keeps the variables of an enclosing function apart from
    global ones.
    """
    node.decorator_list = []
    flags = code.co_flags & _FUTURES
    try:
        module = _repeated(lambda: ast.parse("def outer(): pass"))
        enclosing = cast("ast.FunctionDef", module.body[0])
        enclosing.args.args = [ast.arg(name) for name in code.co_freevars]
        enclosing.body = [node]
        module.body += [ast.Import([ast.alias(name)]) for name in imported]
        ast.fix_missing_locations(module)
        compiled = _repeated(lambda: compile(module, "<step>", "exec", flags, dont_inherit=True))
    except (SyntaxError, SystemError, ValueError, RecursionError):
        return False
    functions = [inner for outer in _inner(compiled) for inner in _inner(outer)]
    return any(inner.co_name == node.name and code_text(inner) == running for inner in functions)


def _repeated(work: Callable[[], _Result]) -> _Result:
    """Call what makes or reads a syntax tree, again where another thread did so meanwhile.

    CPython counts the depth of a tree in a variable of all threads, and raises SystemError where
    two meet (`recursion_depth` in Python/Python-ast.c of https://github.com/python/cpython, and
    issue 106905 there; seen with Python 3.11.7).
    """
    for _ in range(_TRIES - 1):
        with suppress(SystemError):
            return work()
    return work()


def _inner(code: CodeType) -> list[CodeType]:
    return [one for one in code.co_consts if isinstance(one, CodeType)]


def _with_inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for one in _inner(code):
        yield from _with_inner(one)


def _tree_text(node: _Function) -> str:
    """The tree of a definition, without its name, docstring and types of parameters."""
    node.name, node.returns = "", None
    arguments = node.args
    several = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    for argument in [*several, arguments.vararg, arguments.kwarg]:
        if argument is not None:
            argument.annotation = None
    if ast.get_docstring(node, clean=False) is not None:
        del node.body[0]
    return ast.dump(node, annotate_fields=False)


def code_text(code: CodeType) -> str:
    """All of a code object that runs: no file, no line, no name of its own, no docstring."""
    constants: list[object] = list(code.co_consts)
    if constants and isinstance(constants[0], str):
        constants[0] = None  # the docstring, or nothing else that the bytecode does not show
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    counts = code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    stars = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    parts = code.co_code.hex(), code.co_exceptiontable.hex(), *names, *counts, stars
    return f"{parts!a} {constant_text(tuple(constants))}"


def constant_text(value: object) -> str:
    """The text of a constant of a code object, or of a default. Of any other object its class."""
    if isinstance(value, CodeType):
        return f"<{code_text(value)}>"
    if type(value) is tuple:
        return f"({', '.join(map(constant_text, value))})"
    if type(value) is frozenset:
        return f"{{{', '.join(sorted(map(constant_text, value)))}}}"
    is_constant = value is None or type(value) in _CONSTANTS
    return ascii(value) if is_constant else type(value).__qualname__
