"""A classifier of scikit-learn from a skops file: types that skops trusts, and nothing else."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path
from typing import Any

from molehunt.errors import (
    CodeNotTrustedError,
    InvalidRequestError,
    UnreadableFileError,
    mismatch,
    need_extra,
    printable,
    reason_of,
)
from molehunt.images import ImageSet
from molehunt.networks import BlackBox, wrap_estimator
from molehunt.subjects._contract import StatedContract
from molehunt.subjects._skops_trees import grow_trees, trees_as_data

SKOPS_SUFFIX = ".skops"
MOST_SKOPS_BYTES = 2**30
_MOST_UNPACKED = 2**32


def open_skops(
    content: bytes, path: Path, contract: StatedContract, clean: ImageSet | None
) -> BlackBox:
    """Return the classifier of a skops file, as `wrap_estimator` does.

    The file names types; those that skops does not trust by itself are refused, so nothing in it
    is executed. Decision trees are among the refused ones, as compiled code follows their arrays
    without looking: those of classifiers and forests are read as data and followed by NumPy. A
    pickle is never opened.

    Parameters
    ----------
    content : bytes
        Of the file.
    path : Path
        For messages.
    contract : StatedContract
        ``input_shape``, ``value_range`` and ``class_names`` count.
    clean : ImageSet, optional
        Whose shape is taken where none is stated.

    Raises
    ------
    MissingExtraError
        If skops is not installed.
    CodeNotTrustedError
        If it holds types that skops does not trust.
    UnreadableFileError
        If it is no skops file, or far too large.
    InvalidRequestError
        If the input shape is not known.
    UnsuitableSubjectError
        If it is no fitted classifier, or takes other rows.
    """
    skops = need_extra("skops", "skops.io", "a skops file")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(item.file_size for item in archive.infolist())
        if unpacked > _MOST_UNPACKED:
            allowed = f"at most {_MOST_UNPACKED} bytes"
            raise UnreadableFileError(mismatch(f"{path}: unpacked size", allowed, unpacked))
        plain = trees_as_data(content)
        untrusted = skops.get_untrusted_types(data=plain)
        if untrusted:
            names = printable(", ".join(map(str, untrusted)), 200)
            raise CodeNotTrustedError(
                f"{path}: holds types that skops does not trust ({names}), so it was not loaded"
            )
        estimator: Any = skops.loads(plain, trusted=[])
        grow_trees(estimator)
    except (CodeNotTrustedError, UnreadableFileError):
        raise
    except Exception as error:  # a stranger's archive: skops raises whatever it meets
        raise UnreadableFileError(f"{path}: no skops file: {reason_of(error)}") from error
    shape = contract.input_shape
    pixels = getattr(estimator, "n_features_in_", None)
    if shape is None and clean is not None and pixels in (None, math.prod(clean.shape)):
        shape = clean.shape
    if shape is None:
        allowed = f"channels, height and width of its {pixels} numbers"
        raise InvalidRequestError(mismatch(f"{path}: `input_shape`", allowed, "none"))
    return wrap_estimator(
        estimator,
        shape,
        class_names=contract.class_names,
        value_range=contract.value_range or (0.0, 1.0),
    )
