"""Poisoning attacks against support vector machines: Biggio, Nelson and Laskov (ICML 2012)."""

from molehunt_studies.svm_poisoning.study import SVM_POISONING

__all__ = ["SVM_POISONING"]
