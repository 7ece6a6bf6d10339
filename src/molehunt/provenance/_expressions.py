"""The only expressions that an exported program may bring: arithmetic on sizes.

torch evaluates two kinds of text from such a file as Python: symbolic sizes
(``sympy.sympify``) and guards (``exec``). Both are held to a list of syntax nodes, of
functions and of characters here; what is not on the lists is refused.
"""

from __future__ import annotations

import ast
import re

_LONGEST = 8192  # characters; guards of large networks take some hundred
_LARGEST_NUMBER = 2**64
_LARGEST_POWER = 8
_MOST_ARGUMENTS = 16  # sympy compares every pair of the arguments of Max and Min
_MOST_CALLS = 256
_MOST_POWERS = 4
# No line breaks (sympify deletes them before it evaluates), no braces, no back-quotes.
_CHARACTERS = re.compile(r"[A-Za-z0-9_ .,'\"()\[\]+\-*/%<>=!&|~]*")
_WORD = re.compile(r"[A-Za-z0-9_]{1,64}")
_DECIMAL = re.compile(r"-?[0-9.]{1,40}(e[+-]?[0-9]{1,3})?")
_FINEST = 128  # bits of a float's precision

_ARITHMETIC = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Load),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)
# torch 2.14: GraphModuleDeserializer.deserialize, sympy_functions; and sympy's own names
# as srepr writes them. None of them reads text but Symbol.
_SIZE_FUNCTIONS = {
    *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt"),
    *("FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv"),
    *("IntTrueDiv", "IsNonOverlappingAndDenseIndicator", "TruncToFloat", "TruncToInt"),
    *("RoundToInt", "RoundDecimal", "ToFloat", "Identity", "Symbol", "Integer", "Float"),
    *("Rational", "Add", "Mul", "Pow", "Max", "Min", "Abs", "floor", "ceiling", "And", "Or"),
    *("Not", "Equality", "Unequality", "LessThan", "StrictLessThan", "GreaterThan"),
    *("StrictGreaterThan", "Eq", "Ne", "Le", "Lt", "Ge", "Gt"),
}
_POWERS = {"Pow", "PowByNatural", "FloatPow", "LShift", "RShift"}
_ASSUMPTIONS = frozenset({"positive", "integer", "nonnegative", "real", "precision", "evaluate"})
_GUARD_FUNCTIONS = frozenset(
    {
        *("torch.sym_min", "torch.sym_max", "torch.sym_ite", "torch.sym_not", "torch.sym_int"),
        *("torch.sym_float", "torch._sym_sqrt", "math.floor", "math.ceil", "math.trunc"),
        *("math.isnan", "math.sqrt", "float", "int", "bool", "abs", "min", "max"),
    }
)
_SIZES = frozenset({"size", "stride", "storage_offset"})


def is_size_expression(text: str) -> bool:
    """Whether `text` is arithmetic on symbols, such as ``Mul(Integer(2), Symbol('s0'))``."""
    tree = _parsed(text)
    return (
        tree is not None
        and _few_powers(tree)
        and _few_arguments(tree)
        and all(_size_node(node) for node in _outer(tree))
    )


def is_guard(text: str) -> bool:
    """Whether `text` compares sizes of inputs, such as ``L['x'].size()[0] <= 64``."""
    tree = _parsed(text)
    return tree is not None and _few_powers(tree) and _guard(tree.body)


def _parsed(text: str) -> ast.Expression | None:
    if len(text) > _LONGEST or not _CHARACTERS.fullmatch(text):
        return None
    try:
        return ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _few_powers(tree: ast.Expression) -> bool:
    """Powers of powers make numbers that no memory holds."""
    powers = 0
    for node in ast.walk(tree):
        exponent: ast.expr | None = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.LShift):
            exponent = node.right
        elif isinstance(node, ast.Call) and _called(node) in _POWERS:
            exponent = node.args[1] if len(node.args) == 2 else node
        if exponent is not None:
            powers += 1
            numbers = [n.value for n in ast.walk(exponent) if isinstance(n, ast.Constant)]
            plain = isinstance(exponent, ast.Constant | ast.UnaryOp) or _called(exponent) in (
                "Integer",
                "Rational",
            )
            small = all(isinstance(n, int) and n <= _LARGEST_POWER for n in numbers)
            if not (plain and small and numbers) or powers > _MOST_POWERS:
                return False
    return True


def _few_arguments(tree: ast.Expression) -> bool:
    """Work in sympy grows with the square of what one call takes, nested ones flattened."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    if len(calls) > _MOST_CALLS or any(len(call.args) > _MOST_ARGUMENTS for call in calls):
        return False
    extremes = [call for call in calls if _called(call) in ("Max", "Min")]
    return sum(len(call.args) for call in extremes) <= _MOST_ARGUMENTS


def _called(node: ast.AST) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id
    return ""


def _outer(tree: ast.AST) -> list[ast.AST]:
    """All nodes but those inside a Symbol or a Float, which are judged as a whole."""
    nodes, rest = [], [tree]
    while rest:
        node = rest.pop()
        nodes.append(node)
        if _called(node) not in ("Symbol", "Float"):
            rest += ast.iter_child_nodes(node)
    return nodes


def _size_node(node: ast.AST) -> bool:  # noqa: PLR0911  one line for each form
    match node:
        case ast.Constant(value=bool() | None):
            return True
        case ast.Constant(value=int() | float() as value):
            return abs(value) <= _LARGEST_NUMBER
        case ast.Name(id=name):
            return bool(_WORD.fullmatch(name)) and not name.startswith("_")
        case ast.keyword(arg=str(name), value=ast.Constant()):
            return name in _ASSUMPTIONS
        case ast.Call(func=ast.Name(id="Symbol")):
            return _is_made_of_text(node, _WORD)
        case ast.Call(func=ast.Name(id="Float")):
            return _is_made_of_text(node, _DECIMAL)
        case ast.Call(func=ast.Name(id=name)):
            return name in _SIZE_FUNCTIONS
        case _:
            return isinstance(node, _ARITHMETIC)


def _is_made_of_text(node: ast.Call, allowed: re.Pattern[str]) -> bool:
    """``Symbol('s0', integer=True)`` and ``Float('1.5', precision=53)``."""
    match node.args:
        case [ast.Constant(value=value)] if allowed.fullmatch(str(value)):
            return all(
                keyword.arg in _ASSUMPTIONS
                and isinstance(keyword.value, ast.Constant)
                and isinstance(keyword.value.value, int)
                and abs(keyword.value.value) <= _FINEST
                for keyword in node.keywords
            )
        case _:
            return False


def _guard(node: ast.AST) -> bool:  # noqa: PLR0911  one line for each form
    match node:
        case ast.Constant(value=bool()):
            return True
        case ast.Constant(value=int() | float() as value):
            return abs(value) <= _LARGEST_NUMBER
        case ast.Name(id=name):
            return name == "inf"
        case ast.Attribute(value=ast.Name(id="math"), attr=name):
            return name in ("inf", "nan")
        case ast.Call(func=function, args=arguments, keywords=[]):
            return (_is_size(node) and not arguments) or (
                ast.unparse(function) in _GUARD_FUNCTIONS and all(map(_guard, arguments))
            )
        case ast.Subscript(value=value, slice=ast.Constant(value=int())):
            return _is_size(value) or _is_input(node)
        case ast.Subscript():
            return _is_input(node)
        case _ if isinstance(node, _ARITHMETIC):
            return all(map(_guard, ast.iter_child_nodes(node)))
    return False


def _is_size(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=[], keywords=[]):
            return name in _SIZES and _is_input(value)
        case _:
            return False


def _is_input(node: ast.AST) -> bool:
    """Whether it is ``L['x']`` or an element of it, by number or plain name."""
    match node:
        case ast.Subscript(value=ast.Name(id="L"), slice=ast.Constant(value=str(name))):
            return bool(_WORD.fullmatch(name))
        case ast.Subscript(value=value, slice=ast.Constant(value=int())):
            return _is_input(value)
        case ast.Subscript(value=value, slice=ast.Constant(value=str(name))):
            return bool(_WORD.fullmatch(name)) and _is_input(value)
        case _:
            return False
