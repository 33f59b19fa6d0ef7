"""What the text of a saved program may say, so that neither reading it nor running it does anything but compute.

The one idea: torch turns the text into Python code and calls whatever functions of torch it names, so every string is
read beforehand, and let through only if it is an operator on tensors, a name that is a name, or a size expression.
"""

from __future__ import annotations

import ast
import builtins
import functools
import json
import keyword
import re
from typing import Any

import sympy
import torch
from torch.utils._sympy import functions as size_functions

from onnx_ig.errors import ModelError

_ON_SIZES = {
    *(f"_operator.{name}" for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "neg", "pos")),
    *(f"_operator.{name}" for name in ("eq", "ne", "lt", "le", "gt", "ge", "and_", "or_", "lshift", "rshift")),
    *("_operator.getitem", "math.trunc", "math.floor", "math.ceil"),
    *(f"torch.sym_{name}" for name in ("not", "int", "float", "ite", "max", "min", "sqrt", "sum")),
}
# each runs graphs that are in the file themselves, and checked like the rest of it
_ON_GRAPHS = {
    *(f"torch.ops.higher_order.{name}" for name in ("cond", "while_loop", "scan", "associative_scan", "map_impl")),
    *(f"torch.ops.higher_order.wrap_with_{name}" for name in ("set_grad_enabled", "autocast")),
    *(f"torch.ops.higher_order.{name}" for name in ("wrap", "tag_activation_checkpoint", "invoke_subgraph")),
    *(f"torch._functorch.predispatch._vmap_{name}crement_nesting" for name in ("in", "de")),
    *(f"torch._functorch.predispatch.{name}" for name in ("_add_batch_dim", "_remove_batch_dim")),
    "torch._functorch.predispatch.lazy_load_decompositions",
}
_NAMESPACES = ("aten", "prims", "quantized", "quantized_decomposed", "torchvision")
_OPERATOR = re.compile(rf"torch\.ops\.({'|'.join(_NAMESPACES)})\.(\w+)\.(\w+)")
# Kinds of argument by which an operator reaches past its tensors: a string may be text to print or the name of a file,
# but for those that choose among ways to compute.
_REACHING = re.compile(r"str|Storage|Stream|Any|Dict|Future|__torch__")
_CHOICES = {
    *("approximate", "driver", "equation", "indexing", "interpolation", "mode", "norm", "ord", "p", "pad_mode"),
    *("padding", "padding_mode", "padding_side", "reduce", "rounding_mode", "side", "UPLO", "msg", "assert_msg"),
}
_IDENTIFIERS = ("name", "as_name", "forward_arg_names")
_KEYED_BY_NAME = ("tensor_values", "sym_int_values", "sym_bool_values", "sym_float_values", "custom_obj_values")
_UNUSED = ("metadata", "guards_code")


def refuse_unsafe_text(where: str, content: Any, key: str = "") -> None:
    """Raise ModelError at the first string in a program's JSON that says more than a computation on tensors."""
    if isinstance(content, list):
        for item in content:
            refuse_unsafe_text(where, item, key)
    elif isinstance(content, dict):
        for name, item in content.items():
            if key in _KEYED_BY_NAME:
                _refuse_unless_identifier(where, name)
            if name not in _UNUSED:
                refuse_unsafe_text(where, item, name)
    elif isinstance(content, str):
        _refuse_unsafe_string(where, content, key)


def _refuse_unsafe_string(where: str, text: str, key: str) -> None:
    if key in ("target", "as_operator"):
        if not is_safe_operator(text):
            raise ModelError(
                f"{where} is refused: its operator {text[:80]!r} is not one on tensors alone, and might have effects "
                "outside the model; write the model without it and save it again"
            )
    elif key == "expr_str":
        if not is_size_expression(text):
            raise ModelError(f"{where} is refused: its size {text[:80]!r} is code, not an expression")
    elif key in ("in_spec", "out_spec"):
        _refuse_imports(where, text)
    elif key in _IDENTIFIERS:
        _refuse_unless_identifier(where, text)
    elif key != "as_string" and re.search(r"[\"'\\\n\r]", text):  # a string argument is quoted by torch, no other is
        raise _no_name(where, text)


def is_safe_operator(target: str) -> bool:
    """Whether the function with this name only computes: on sizes, on tensors, or by running graphs of the file."""
    if target in _ON_SIZES or target in _ON_GRAPHS:
        return True
    found = _OPERATOR.fullmatch(target)
    if found is None:
        return False
    namespace, name, overload = found.groups()
    overload = "" if overload == "default" else overload
    if f"{namespace}::{name}{'.' if overload else ''}{overload}" not in _registered():
        return False  # such as aten::save, which torch.ops finds among TorchScript's functions
    arguments = torch._C._get_schema(f"{namespace}::{name}", overload).arguments
    return not any(
        _REACHING.search(str(a.type)) and not (a.name in _CHOICES and "str" in str(a.type)) for a in arguments
    )


@functools.cache
def _registered() -> frozenset[str]:
    return frozenset(torch._C._dispatch_get_all_op_names())


def _refuse_unless_identifier(where: str, text: str) -> None:
    if text and not (text.isidentifier() and not keyword.iskeyword(text)):
        raise _no_name(where, text)


def _no_name(where: str, text: str) -> ModelError:
    return ModelError(f"{where} is refused: {text[:80]!r} stands where a name belongs, and would become Python code")


def _refuse_imports(where: str, text: str) -> None:
    """The structure of arguments and results is JSON in a string, and in that again; it may name classes to import."""
    try:
        content = json.loads(text)
    except ValueError:
        return  # a plain string
    waiting = [content]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            _refuse_imports(where, item)
        elif isinstance(item, dict):
            if named := {"__enum__", "default_factory_module"} & set(item):
                raise ModelError(
                    f"{where} is refused: the form of its arguments ({named.pop()}) imports Python modules"
                )
            waiting += [*item, *item.values()]
        elif isinstance(item, list):
            waiting += item


def is_size_expression(text: str) -> bool:
    """Whether ``text``, like ``Symbol('s31', integer=True)``, holds SymPy's classes, names and numbers alone."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError):
        return False
    return all(_is_size_term(term) for term in ast.walk(tree))


def _is_size_term(term: ast.AST) -> bool:
    if isinstance(term, ast.Call):
        name = term.func.id if isinstance(term.func, ast.Name) else ""
        kind = getattr(size_functions, name, None) or getattr(sympy, name, None)
        return isinstance(kind, type) and issubclass(kind, sympy.Basic)
    if isinstance(term, ast.Constant):
        return isinstance(term.value, (bool, int, float)) or bool(re.fullmatch(r"\w+", str(term.value)))
    if isinstance(term, ast.Name):
        return not hasattr(builtins, term.id) and not term.id.startswith("_")
    plain = (ast.Expression, ast.keyword, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare)
    return isinstance(term, (*plain, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.expr_context))
