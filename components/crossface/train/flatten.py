"""Nested state, such as an optimiser's ``state_dict``, as flat tensors and a tree that JSON can hold."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from crossface.errors import DataError


def flatten(nested: Any) -> tuple[dict[str, Tensor], Any]:
    """Take nested state apart.

    Args:
        nested: mappings (keys str or int), lists and tuples, in any depth, of tensors, ints, floats, bools,
            strings and None.

    Returns:
        The tensors, detached and on the CPU (those that are there already are not copied), under names made
        of their path; and the rest as a tree for :func:`unflatten`, which survives JSON: a mapping is
        ``{"dict": [[key, value], ...]}``, a tuple ``{"tuple": [...]}``, a tensor ``{"tensor": name}``.

    Raises:
        TypeError: something else is in it.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _take_apart(nested, "", tensors)


def _take_apart(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        while path in tensors:  # {"a.b": ...} beside {"a": {"b": ...}}
            path += "'"
        tensors[path] = value.detach().cpu()
        return {"tensor": path}
    if isinstance(value, Mapping):
        if odd := [key for key in value if not isinstance(key, str | int)]:
            raise TypeError(f"{path or 'state'}: a key is a {type(odd[0]).__name__}, not a str or int")
        return {"dict": [[key, _take_apart(one, _join(path, key), tensors)] for key, one in value.items()]}
    if isinstance(value, list | tuple):
        parts = [_take_apart(one, _join(path, index), tensors) for index, one in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple": parts}
    raise TypeError(f"{path or 'state'}: a {type(value).__name__} cannot be kept")


def _join(path: str, key: str | int) -> str:
    return f"{path}.{key}" if path else str(key)


def unflatten(tensors: Mapping[str, Tensor], tree: Any) -> Any:
    """Put together what :func:`flatten` took apart; mappings become dicts.

    Raises:
        DataError: the tree is not one of :func:`flatten`'s, or a tensor is missing.
    """
    try:
        return _put_together(tensors, tree)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"the state is not one that was saved by this program: {error!r}") from None


def _put_together(tensors: Mapping[str, Tensor], tree: Any) -> Any:
    if isinstance(tree, list):
        return [_put_together(tensors, one) for one in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, content),) = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: _put_together(tensors, one) for key, one in content}
    if kind == "tuple":
        return tuple(_put_together(tensors, one) for one in content)
    raise ValueError(kind)
