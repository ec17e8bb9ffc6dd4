"""The rules a `@dsl.component` has to keep, read from its source."""

import ast
import builtins
from pathlib import Path

import pytest

import crossface
from crossface_pipelines.params_file import PARAMS
from crossface_pipelines.training.params import load_params

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
    if "SlicedClassificationMetrics" in source:
        found.append("SlicedClassificationMetrics, which KFP writes wrongly")
    if any(isinstance(node, ast.Attribute) and node.attr.endswith("_PLACEHOLDER") for node in ast.walk(tree)):
        found.append("a placeholder, which a cluster replaces only where it is the whole string")
    (decorator,) = function.decorator_list
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in decorator.keywords}
    if given.pop("install_kfp_package", None) != "False" or set(given) != {"base_image"}:
        found.append("packages are installed when it starts")
    return found


def package_faults(source: str) -> list[str]:
    """What is wrong with a step's ``__init__.py``: in a pod kfp is only partly there."""
    imports = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return ["imports something, perhaps its component"] if imports else []


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_component_keeps_the_rules(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: path.parent.name)
def test_package_of_a_step_imports_nothing(path):
    assert package_faults((path.parent / "__init__.py").read_text()) == []
    assert package_faults("from crossface.train.component import train")


DECORATED = "@dsl.component(base_image='x', install_kfp_package=False)\n"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("from __future__ import annotations\n" + DECORATED + "def f(): pass", "__future__"),
        (DECORATED + "def f(x: str | None): pass", "X | None"),
        (DECORATED + "def f(x: Literal['a']): pass", "Literal"),
        ("LIMIT = 3\n" + DECORATED + "def f(x: int):\n    print(x + LIMIT)", "names of the module"),
        (DECORATED + "def f():\n" + "    print(1)\n" * 16, "16 lines"),
        (DECORATED + "def f():\n    print('\u00e9')", "ASCII"),
        (DECORATED + "def f(m: Output[SlicedClassificationMetrics]): pass", "SlicedClassificationMetrics"),
        (DECORATED + "def f():\n    print(f'run {dsl.PIPELINE_JOB_ID_PLACEHOLDER}')", "placeholder"),
        ("@dsl.component(base_image='x')\ndef f(): pass", "installed"),
        ("@dsl.component(install_kfp_package=False)\ndef f(): pass", "installed"),
        (
            "@dsl.component(base_image='x', install_kfp_package=False, packages_to_install=['y'])\n"
            "def f(): pass",
            "installed",
        ),
    ],
)
def test_each_rule_is_noticed_when_broken(source, fault):
    assert any(fault in found for found in faults(source))
    assert faults(DECORATED + "def f(): pass") == []


def as_kfp_hands_it_on(value):
    """Numbers of a dict parameter arrive as floats."""
    if isinstance(value, dict):
        return {key: as_kfp_hands_it_on(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_kfp_hands_it_on(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.parametrize("name", ["sample", "paper"])
def test_whole_numbers_come_through_kfp(name):
    params = load_params(PARAMS / f"{name}.yaml", check_sources=False)
    for section, config in params:
        for part in config if section == "datasets" else [config]:
            given = part.model_dump(mode="json", exclude_none=True)
            again = type(part).parse(as_kfp_hands_it_on(given), section)
            assert again == part
            assert again.model_dump_json() == part.model_dump_json(), "1 and not 1.0"
