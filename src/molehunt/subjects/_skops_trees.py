"""Decision trees of a skops file, read as data: no compiled code follows a stranger's indices."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import CodeNotTrustedError, UnreadableFileError, mismatch, printable

_SCHEMA, _TREE = "schema.json", "TreeNode"
_GROWN = ("DecisionTreeClassifier", "ExtraTreeClassifier")
# Of these, methods that answer are Python and ask a tree by its `predict`.
_KNOWN = {
    "sklearn.tree._classes": _GROWN,
    "sklearn.ensemble._forest": ("RandomForestClassifier", "ExtraTreesClassifier"),
    "sklearn.ensemble._bagging": ("BaggingClassifier",),
    "sklearn.ensemble._weight_boosting": ("AdaBoostClassifier",),
    "sklearn.pipeline": ("Pipeline",),
    "sklearn.preprocessing._data": ("StandardScaler", "MinMaxScaler", "MaxAbsScaler"),
}
_FIELDS = {"left_child": "i", "right_child": "i", "feature": "i", "threshold": "f"}


def trees_as_data(content: bytes) -> bytes:
    """Return a skops file in which each compiled tree is the dictionary of its arrays.

    Raises
    ------
    CodeNotTrustedError
        If a file with trees has other classes than those that ask trees in Python.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        schema = json.loads(archive.read(_SCHEMA))
        if not any(node.get("__loader__") == _TREE for node in _nodes_in(schema)):
            return content
        for node in _nodes_in(schema):
            if node.get("__loader__") == "ObjectNode":
                _check_class(node)
        changed = io.BytesIO()
        with zipfile.ZipFile(changed, "w") as copy:
            copy.writestr(_SCHEMA, json.dumps(_without_trees(schema)))
            for name in set(archive.namelist()) - {_SCHEMA}:
                copy.writestr(name, archive.read(name))
    return changed.getvalue()


def _check_class(node: dict[str, Any]) -> None:
    module, name = node.get("__module__"), node.get("__class__")
    if name not in _KNOWN.get(str(module), ()):
        known = ", ".join(each for names in _KNOWN.values() for each in names)
        got = printable(f"{module}.{name}", 100)
        raise CodeNotTrustedError(mismatch("classes beside decision trees", known, got))


def _nodes_in(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _nodes_in(each)


def _without_trees(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_trees(each) for each in part]
    if not isinstance(part, dict):
        return part
    if part.get("__loader__") == _TREE:
        part = part.get("content")
        return _without_trees(part)
    return {name: _without_trees(each) for name, each in part.items()}


def grow_trees(estimator: Any) -> None:
    """Give each tree of an estimator that was loaded from such a file its arrays to follow.

    Raises
    ------
    UnreadableFileError
        If arrays are no tree.
    """
    for each in _estimators_in(estimator, set()):
        state = vars(each).get("tree_")
        if type(each).__name__ in _GROWN and isinstance(state, dict):
            each.tree_ = TreeArrays(state, int(each.n_features_in_), int(each.n_classes_))


def _estimators_in(part: Any, seen: set[int]) -> Iterator[Any]:
    from sklearn.base import BaseEstimator  # noqa: PLC0415  heavy

    if id(part) in seen:
        return
    seen.add(id(part))
    if isinstance(part, BaseEstimator):
        yield part
        part = list(vars(part).values())
    elif isinstance(part, dict):
        part = list(part.values())
    elif isinstance(part, np.ndarray) and part.dtype == object:
        part = part.ravel().tolist()
    if isinstance(part, list | tuple):
        for each in part:
            yield from _estimators_in(each, seen)


class TreeArrays:
    """A decision tree that is followed by NumPy, in the place of scikit-learn's compiled one.

    Parameters
    ----------
    state : dict
        `nodes`, a structured array with children, features and thresholds, and `values`
        [nodes, 1, classes].
    features, classes : int

    Raises
    ------
    UnreadableFileError
        If a child is not behind its parent, a feature is not there, or arrays do not fit.
    """

    def __init__(self, state: dict[str, Any], features: int, classes: int) -> None:
        nodes, values = state.get("nodes"), state.get("values")
        fits = (
            isinstance(nodes, np.ndarray)
            and nodes.ndim == 1
            and len(nodes) > 0
            and set(_FIELDS) <= set(nodes.dtype.names or ())
            and all(nodes.dtype[name].kind == kind for name, kind in _FIELDS.items())
            and isinstance(values, np.ndarray)
            and values.shape == (len(nodes), 1, classes)
        )
        if not fits or nodes is None or values is None:
            raise UnreadableFileError(mismatch("decision tree", "nodes and their values", "others"))
        self._left, self._right, self._feature, self._threshold = (nodes[name] for name in _FIELDS)
        self._leaf = self._left == -1
        places = np.arange(len(nodes))[~self._leaf]
        for name, least, most, got in (
            ("left child", places + 1, len(nodes), self._left[~self._leaf]),
            ("right child", places + 1, len(nodes), self._right[~self._leaf]),
            ("feature", 0, features, self._feature[~self._leaf]),
        ):
            if bool(((got < least) | (got >= most)).any()):
                allowed = "a place behind its parent" if "child" in name else f"0 to {features - 1}"
                raise UnreadableFileError(mismatch(f"decision tree: {name}", allowed, "another"))
        named = "missing_go_to_left" in (nodes.dtype.names or ())
        self._missing_left = nodes["missing_go_to_left"].astype(bool) if named else ~self._leaf
        shares = values[:, 0].astype(np.float64)
        total = shares.sum(axis=1, keepdims=True)
        if not bool(np.isfinite(shares).all() and (shares >= 0).all() and (total > 0).all()):
            raise UnreadableFileError(
                mismatch("decision tree: values", "shares of the classes", "others")
            )
        self._shares = shares / total

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the shares of the classes [N, K] in the leaf of each row [N, F]."""
        at = np.zeros(len(rows), dtype=np.int64)
        # A child is behind its parent, so each round leaves fewer nodes ahead.
        while len(going := np.flatnonzero(~self._leaf[at])):
            here = at[going]
            pixels = rows[going, self._feature[here]]
            left = np.where(
                np.isnan(pixels), self._missing_left[here], pixels <= self._threshold[here]
            )
            at[going] = np.where(left, self._left[here], self._right[here])
        shares: NDArray[np.float64] = self._shares[at]
        return shares
