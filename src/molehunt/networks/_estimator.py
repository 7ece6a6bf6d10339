"""A classifier of scikit-learn as a model that answers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from molehunt.errors import UnsuitableSubjectError, mismatch
from molehunt.networks._answers import AnswerKind, Answers
from molehunt.networks._classifier import BlackBox, ModelCard

_SMALLEST = np.finfo(np.float32).tiny


def wrap_estimator(
    estimator: Any,
    input_shape: tuple[int, int, int],
    *,
    class_names: tuple[str, ...] | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> BlackBox:
    """Return a fitted classifier of scikit-learn, or a pipeline, as a `BlackBox`.

    It answers with the logarithms of `predict_proba`, else with `decision_function` (of two
    classes, minus and plus half of it), else with labels only; then attacks that need
    confidences refuse it. Where probabilities and `predict` disagree, as in
    ``SVC(probability=True)``, the probabilities count.

    Parameters
    ----------
    estimator : classifier
        Fitted on images as rows [N, C * H * W] with pixels in `value_range`.
    input_shape : (channels, height, width)
    class_names : tuple of str, optional
        One for each of ``estimator.classes_``, in order; their own texts when not given.
    value_range : (low, high)
        Of the pixels that it was fitted on.

    Raises
    ------
    UnsuitableSubjectError
        If it is not fitted, is no classifier, or takes other rows.

    Examples
    --------
    >>> import torch
    >>> from sklearn.linear_model import LogisticRegression
    >>> from molehunt.images import load_images
    >>> digits = load_images("digits")
    >>> rows = digits.train.pixels().flatten(1).numpy()
    >>> model = LogisticRegression().fit(rows, digits.train.labels.numpy())
    >>> box = wrap_estimator(model, digits.train.shape)
    >>> box(digits.test.pixels()[:3]).shape
    torch.Size([3, 10])
    """
    classes = getattr(estimator, "classes_", None)
    if classes is None or np.ndim(classes) != 1 or not hasattr(estimator, "predict"):
        got = f"{type(estimator).__name__} without classes_"
        raise UnsuitableSubjectError(mismatch("estimator", "a fitted classifier", got))
    size = int(np.prod(input_shape))
    wanted = getattr(estimator, "n_features_in_", size)
    if wanted != size:
        got = f"{input_shape}, which are {size}"
        raise UnsuitableSubjectError(mismatch("input_shape", f"{wanted} pixels", got))
    names = class_names or tuple(str(name) for name in classes)
    if len(names) != len(classes):
        raise UnsuitableSubjectError(mismatch("class_names", len(classes), len(names)))
    channels = input_shape[0]
    card = ModelCard(
        input_shape=input_shape,
        value_range=value_range,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        class_names=names,
        architecture="scikit-learn",
    )

    def answer(images: NDArray[np.float32]) -> NDArray[Any]:
        rows = images.reshape(len(images), -1)
        if hasattr(estimator, "predict_proba"):
            shares = np.asarray(estimator.predict_proba(rows), dtype=np.float64)
            return np.log(np.maximum(shares, _SMALLEST))
        if hasattr(estimator, "decision_function"):
            scores = np.asarray(estimator.decision_function(rows), dtype=np.float64)
            return np.stack([-scores / 2, scores / 2], axis=1) if scores.ndim == 1 else scores
        return np.asarray(estimator.predict(rows)[:, None] == classes, dtype=np.float32)

    model = BlackBox(answer, card)
    if not hasattr(estimator, "predict_proba") and not hasattr(estimator, "decision_function"):
        model.answers = Answers(AnswerKind.LABELS, doubt="it answers with labels only")
    return model
