"""The ten learners, fitted on images as rows of pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor, nn

from molehunt.images import ImageSet
from molehunt.networks import Classifier, ModelCard, build_classifier, wrap_estimator
from molehunt.training import Recipe, train

CNN = "CNN"


@dataclass(frozen=True)
class Learner:
    """How a learner is made, and on how many images at most it is fitted."""

    make: Callable[[int], Any]  # takes a seed; None for the network
    most: int = 5000


# Settings are scikit-learn's defaults but for what makes them converge or finish sooner.
LEARNERS = {
    "logistic regression": Learner(lambda _: LogisticRegression(C=0.1, max_iter=1000)),
    "linear SVM": Learner(lambda seed: LinearSVC(C=0.01, random_state=seed)),
    "RBF SVM": Learner(lambda _: SVC(C=5.0), most=500),
    "naive Bayes": Learner(lambda _: GaussianNB(var_smoothing=0.01)),
    "nearest neighbours": Learner(lambda _: KNeighborsClassifier(5), most=500),
    "tree": Learner(lambda seed: DecisionTreeClassifier(random_state=seed)),
    "forest": Learner(lambda seed: RandomForestClassifier(30, random_state=seed)),
    "boosting": Learner(
        lambda seed: HistGradientBoostingClassifier(max_iter=30, random_state=seed), most=1000
    ),
    "MLP": Learner(lambda seed: MLPClassifier((64,), random_state=seed, early_stopping=True)),
    CNN: Learner(lambda _: None),
}


def fit_learner(name: str, images: ImageSet, seed: int) -> tuple[Classifier, Classifier | None]:
    """Fit a learner; return it as a model, and its twin with gradients where there is one.

    Logistic regression, linear SVM and MLP are written down as networks a second time for
    the attack that needs gradients.
    """
    learner = LEARNERS[name]
    part = images.sample(min(learner.most, len(images)), torch.Generator().manual_seed(seed))
    if name == CNN:
        arguments = {"width": 4, "stages": [1, 1]}
        network = build_classifier("vgg", part, arguments=arguments, seed=seed)
        train(network, part, Recipe(epochs=6, batch_size=64), seed=seed)
        return network, network
    estimator = learner.make(seed).fit(part.pixels().flatten(1).numpy(), part.labels.numpy())
    model = wrap_estimator(estimator, part.shape, class_names=part.class_names)
    layers = _layers_of(estimator)
    return model, None if layers is None else _as_network(layers, model.card)


def _layers_of(estimator: Any) -> list[tuple[Tensor, Tensor]] | None:
    """Return weights [out, in] and biases [out] of an estimator's layers, if it has such."""
    if isinstance(estimator, MLPClassifier):
        pairs = zip(estimator.coefs_, estimator.intercepts_, strict=True)
        return [(torch.tensor(weights.T), torch.tensor(bias)) for weights, bias in pairs]
    if isinstance(estimator, (LogisticRegression, LinearSVC)):
        return [(torch.tensor(estimator.coef_), torch.tensor(estimator.intercept_))]
    return None


def _as_network(layers: list[tuple[Tensor, Tensor]], card: ModelCard) -> Classifier:
    modules: list[nn.Module] = [nn.Flatten()]
    for weights, bias in layers:
        layer = nn.Linear(weights.shape[1], weights.shape[0])
        layer.weight.data, layer.bias.data = weights.float(), bias.float()
        modules += [layer, nn.ReLU()]
    return Classifier(nn.Sequential(*modules[:-1]), card)
