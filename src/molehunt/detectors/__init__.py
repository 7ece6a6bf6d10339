"""Detectors: they decide about a model, not about an image."""

from molehunt.detectors._augmentation import ModelAugmentation
from molehunt.detectors._base import Detector
from molehunt.detectors._calibration import (
    conformal_p_values,
    conformal_threshold,
    models_needed,
)
from molehunt.detectors._conformance import ConformanceCheck, conformance_checks
from molehunt.detectors._detector_file import (
    DetectorCard,
    load_detector,
    save_detector,
)
from molehunt.detectors._distill import Distillation
from molehunt.detectors._evading import Evading
from molehunt.detectors._evaluation import (
    AucResult,
    Evaluation,
    NullRates,
    auc_over_shuffles,
    auc_with_interval,
    evaluate,
    fit_on_zoo,
    shuffled_control,
    shuffled_labels,
)
from molehunt.detectors._final_layer import FinalLayer
from molehunt.detectors._fresh import draw_fresh
from molehunt.detectors._image_detector import ImageDetector
from molehunt.detectors._litmus import LitmusPatterns
from molehunt.detectors._margin import MaximumMargin
from molehunt.detectors._memory import memory_limit
from molehunt.detectors._meta_classifier import MetaClassifier
from molehunt.detectors._neural_cleanse import NeuralCleanse
from molehunt.detectors._noise import NoisePatterns
from molehunt.detectors._pairwise import PairwiseTriggers
from molehunt.detectors._patterns import PatternDetector
from molehunt.detectors._registry import (
    detector_class,
    detector_names,
    name_of,
    new_detector,
    register_detector,
)
from molehunt.detectors._statistics import WeightStatistics
from molehunt.detectors._twin_comparison import TwinComparison
from molehunt.detectors._twin_readings import TwinStatistic
from molehunt.detectors._twin_test import TwinTest, compare_with_twins, twin_power
from molehunt.detectors._twins import TwinGap, Twins, make_twins
from molehunt.detectors._unit_statistics import UnitStatistics
from molehunt.detectors._verdict_counts import (
    BACKDOOR_KINDS,
    LEAST_POWER,
    VerdictCounts,
    Verdicts,
    check_demand,
    count_verdicts,
)
from molehunt.detectors._wrong_predictions import (
    WrongPredictions,
    chi_square_p,
    excess_mistakes,
    expected_mistakes,
    mistakes_of,
)
from molehunt.detectors._zoo_contract import ZooContract
from molehunt.detectors._zoo_free import Examination, ZooFreeDetector

__all__ = [
    "BACKDOOR_KINDS",
    "LEAST_POWER",
    "AucResult",
    "ConformanceCheck",
    "Detector",
    "DetectorCard",
    "Distillation",
    "Evading",
    "Evaluation",
    "Examination",
    "FinalLayer",
    "ImageDetector",
    "LitmusPatterns",
    "MaximumMargin",
    "MetaClassifier",
    "ModelAugmentation",
    "NeuralCleanse",
    "NoisePatterns",
    "NullRates",
    "PairwiseTriggers",
    "PatternDetector",
    "TwinComparison",
    "TwinGap",
    "TwinStatistic",
    "TwinTest",
    "Twins",
    "UnitStatistics",
    "VerdictCounts",
    "Verdicts",
    "WeightStatistics",
    "WrongPredictions",
    "ZooContract",
    "ZooFreeDetector",
    "auc_over_shuffles",
    "auc_with_interval",
    "check_demand",
    "chi_square_p",
    "compare_with_twins",
    "conformal_p_values",
    "conformal_threshold",
    "conformance_checks",
    "count_verdicts",
    "detector_class",
    "detector_names",
    "draw_fresh",
    "evaluate",
    "excess_mistakes",
    "expected_mistakes",
    "fit_on_zoo",
    "load_detector",
    "make_twins",
    "memory_limit",
    "mistakes_of",
    "models_needed",
    "name_of",
    "new_detector",
    "register_detector",
    "save_detector",
    "shuffled_control",
    "shuffled_labels",
    "twin_power",
]
