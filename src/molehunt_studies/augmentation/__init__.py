"""Model augmentation: what changed fitting models are worth to litmus patterns."""

from molehunt_studies.augmentation.study import (
    AUGMENTATION_CIFAR10,
    AUGMENTATION_DIGITS,
    AUGMENTATION_GTSRB,
    AUGMENTATION_MNIST,
)

__all__ = [
    "AUGMENTATION_CIFAR10",
    "AUGMENTATION_DIGITS",
    "AUGMENTATION_GTSRB",
    "AUGMENTATION_MNIST",
]
