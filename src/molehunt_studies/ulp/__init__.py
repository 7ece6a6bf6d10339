"""Universal Litmus Patterns on MNIST, CIFAR-10 and GTSRB."""

from molehunt_studies.ulp.study import ULP_CIFAR10, ULP_GTSRB, ULP_MNIST

__all__ = ["ULP_CIFAR10", "ULP_GTSRB", "ULP_MNIST"]
