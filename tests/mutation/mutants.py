"""Deliberate faults: each replaces a piece of a Python source by another one that is likely to be wrong."""

from __future__ import annotations

import ast
import copy
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """A fault in one place.

    Attributes:
        line: of the place, from 1.
        last_line: of the place.
        start, end: of the piece in the source, in bytes.
        operator: the kind of fault.
        function: dotted name of the function or class that it is in; empty at the top level.
        before: the piece as Python writes it.
        after: what stands there instead.
        number: among equal faults in equal pieces of the same function, from 0.
    """

    line: int
    last_line: int
    start: int
    end: int
    operator: str
    function: str
    before: str
    after: str
    number: int

    def key(self, file: str) -> str:
        """Return a name that stays the same where other parts of the file change."""
        text = "\0".join((file, self.function, self.operator, self.before, self.after, str(self.number)))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def applied(self, source: bytes) -> bytes:
        """Return the source with the fault."""
        return source[: self.start] + self.after.encode() + source[self.end :]


def mutants_of(source: bytes) -> list[Mutant]:
    """Return every mutant of a Python source, in the order of its lines.

    Texts, annotations, and what is computed for the message of an error alone are left as they are.
    """
    tree = ast.parse(source)
    conditions = {node.test for node in ast.walk(tree) if isinstance(node, ast.If | ast.IfExp)}
    conditions |= {test for node in ast.walk(tree) if isinstance(node, ast.comprehension) for test in node.ifs}
    alone = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    seen: dict[tuple[str, ...], int] = {}
    found = []
    for node, function in _places(tree, ""):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        for operator, changed in _faults(node, conditions, alone):
            before, after = ast.unparse(node), changed if isinstance(changed, str) else _expression(changed)
            name = (function, operator, before, after)
            number = seen[name] = seen.get(name, -1) + 1
            found.append(Mutant(node.lineno, node.end_lineno, begin, end, operator, function, before, after, number))
    return found


def _expression(node: ast.AST) -> str:
    """Return a changed expression in brackets: it stands within another one."""
    text = ast.unparse(ast.fix_missing_locations(node))
    return text if isinstance(node, ast.Constant | ast.Name | ast.Call | ast.Attribute) else f"({text})"


def _places(node: ast.AST, function: str) -> Iterator[tuple[ast.AST, str]]:
    """Yield the statements and expressions that may be wrong, with the function that they are in."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        name = f"{function}.{node.name}" if function else node.name
        children: list[ast.AST] = [*node.body]
        if not isinstance(node, ast.ClassDef):
            children += [*node.args.defaults, *filter(None, node.args.kw_defaults)]
        for child in children:
            yield from _places(child, name)
        return
    if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Global | ast.Nonlocal):
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):  # a docstring
        return
    if isinstance(node, ast.stmt | ast.expr):
        yield node, function
    if isinstance(node, ast.Raise):  # its message
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "ctx", "targets") or (name == "slice" and isinstance(node, ast.Name)):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _places(child, function)


def _faults(node: ast.AST, conditions: set[ast.AST], alone: set[ast.AST]) -> Iterator[tuple[str, ast.AST | str]]:
    """Yield the kinds of fault that a node may have, each with what stands there instead.

    Args:
        node: a statement or an expression.
        conditions: the expressions of the source that decide.
        alone: the calls that are statements.
    """
    if isinstance(node, ast.Compare):
        for place, operation in enumerate(node.ops):
            yield "comparison", _with(node, "ops", place, _COMPARISONS[type(operation)]())
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS and not _is_type_union(node):
        yield "arithmetic", _changed(node, op=_OPERATIONS[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield "and or", _changed(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        yield "sign", node.operand
    elif isinstance(node, ast.Constant):
        yield from _other_constants(node.value)
    elif isinstance(node, ast.Call):
        yield from _other_calls(node, node in alone)
    if node in conditions:
        yield "condition", ast.Constant(True)
        yield "condition", ast.Constant(False)
    yield from _other_statements(node)


def _other_statements(node: ast.AST) -> Iterator[tuple[str, ast.AST | str]]:
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    assigned = isinstance(node, ast.Assign) and not any(isinstance(to, ast.Name | ast.Tuple) for to in node.targets)
    if called or assigned or isinstance(node, ast.Raise | ast.AugAssign | ast.Delete | ast.Assert):
        yield "statement left out", "pass"
    elif isinstance(node, ast.Break):
        yield "loop", "continue"
    elif isinstance(node, ast.Continue):
        yield "loop", "break"


def _other_constants(value: object) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(value, bool):
        yield "constant", ast.Constant(not value)
    elif isinstance(value, int):
        yield "constant", ast.Constant(value + 1)
    elif isinstance(value, float):
        yield "constant", ast.Constant(value * 2 if value else 1.0)


def _other_calls(node: ast.Call, alone: bool) -> Iterator[tuple[str, ast.AST]]:
    for place, keyword in enumerate(node.keywords):
        if keyword.arg is not None:
            yield "argument left out", _changed(node, keywords=node.keywords[:place] + node.keywords[place + 1 :])
    if len(node.args) >= 2 and not any(isinstance(one, ast.Starred) for one in node.args[:2]):
        first, second, *rest = node.args
        if ast.dump(first) != ast.dump(second):
            yield "arguments swapped", _changed(node, args=[second, first, *rest])
    receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
    if receiver is not None and not alone and not _is_module(receiver) and not isinstance(receiver, ast.Constant):
        yield "call left out", receiver


#: What is called on these is no change of them, which could be left out.
_MODULES = ("self", "cls", "torch", "np", "math", "os", "functional", "nn", "json", "re", "shutil", "time", "sys")


def _is_module(node: ast.AST) -> bool:
    """Whether a receiver may be a module, a class, the object itself or its base."""
    if isinstance(node, ast.Name):
        return node.id in _MODULES or node.id[0].isupper()
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"


def _is_type_union(node: ast.BinOp) -> bool:
    """Whether ``A | B`` joins types."""
    return isinstance(node.op, ast.BitOr) and all(
        (isinstance(side, ast.Name | ast.Attribute) and ast.unparse(side).split(".")[-1][0].isupper())
        or (isinstance(side, ast.Constant) and side.value is None)
        or (isinstance(side, ast.Name) and side.id in ("int", "float", "str", "bool", "list", "tuple", "dict"))
        or (isinstance(side, ast.BinOp) and _is_type_union(side))
        for side in (node.left, node.right)
    )


def _changed(node: ast.AST, **fields: object) -> ast.AST:
    new = copy.deepcopy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def _with(node: ast.AST, field: str, place: int, value: ast.AST) -> ast.AST:
    values = list(getattr(node, field))
    values[place] = value
    return _changed(node, **{field: values})
