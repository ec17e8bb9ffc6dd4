"""The rules a `@dsl.component` has to keep, read from its source."""

import ast
import builtins
from pathlib import Path

import pytest

import crossface

COMPONENTS = sorted(Path(crossface.__file__).parent.glob("*/component.py"))
MOST_LINES = 15


def the_function(tree: ast.Module) -> ast.FunctionDef:
    (function,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return function


def faults(source: str) -> list[str]:
    """What is wrong with a component's source, in words."""
    tree = ast.parse(source)
    function = the_function(tree)
    found = []
    if any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body):
        found.append("from __future__ import annotations turns types into strings KFP cannot read")
    annotations = [argument.annotation for argument in function.args.args] + [function.returns]
    for annotation in annotations:
        for node in ast.walk(annotation) if annotation else ():
            if isinstance(node, ast.BinOp):
                found.append("X | None in the signature")
            if isinstance(node, ast.Name) and node.id in {"Literal", "Enum"}:
                found.append(f"{node.id} in the signature")
    body = [
        node
        for node in function.body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    statements = [node for node in body if not isinstance(node, ast.Import | ast.ImportFrom)]
    lines = sum(node.end_lineno - node.lineno + 1 for node in statements)
    if lines > MOST_LINES:
        found.append(f"{lines} lines of body")
    bound = {argument.arg for argument in function.args.args} | set(dir(builtins))
    for node in ast.walk(function):
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
    used = {node.id for part in body for node in ast.walk(part) if isinstance(node, ast.Name)}
    if unbound := used - bound:
        found.append(f"uses names of the module, which are not there at run time: {sorted(unbound)}")
    if not source.isascii():
        found.append("not ASCII")
    return found


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_component_keeps_the_rules(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_component_installs_nothing_at_run_time(path):
    (decorator,) = the_function(ast.parse(path.read_text())).decorator_list
    given = {keyword.arg: keyword.value for keyword in decorator.keywords}
    assert set(given) == {"base_image", "install_kfp_package"}
    assert given["install_kfp_package"].value is False


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("from __future__ import annotations\ndef f(): pass", "__future__"),
        ("def f(x: str | None): pass", "X | None"),
        ("def f(x: Literal['a']): pass", "Literal"),
        ("LIMIT = 3\ndef f(x: int):\n    print(x + LIMIT)", "names of the module"),
        ("def f():\n" + "    print(1)\n" * 16, "16 lines"),
        ("def f():\n    print('\u00e9')", "ASCII"),
    ],
)
def test_each_rule_is_noticed_when_broken(source, fault):
    assert any(fault in found for found in faults(source))
