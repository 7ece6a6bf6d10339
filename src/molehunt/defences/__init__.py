"""Defences: repair, filters of training points, wrappers that hide, training and certificates."""

from molehunt.defences._activation_clustering import ActivationClustering
from molehunt.defences._active_dropout import drop_at_test_time
from molehunt.defences._adversarial_training import AdversarialObjective
from molehunt.defences._attention_distillation import distil_attention
from molehunt.defences._bit_depth import BitDepth
from molehunt.defences._bounded_network import BoundedNetwork, Step, read_network
from molehunt.defences._certified_training import CertifiedObjective
from molehunt.defences._certify import BoundMethod, BoxCertificates, certify_box
from molehunt.defences._changed_logits import OutputNoise, ScaledLogits
from molehunt.defences._data_filter import DataFilter, FeatureFilter, Filtered, filter_images
from molehunt.defences._data_filters import DATA_FILTERS
from molehunt.defences._defended import Defended
from molehunt.defences._distillation import DefensiveDistillation
from molehunt.defences._fine_pruning import FinePruned, fine_prune, trigger_success
from molehunt.defences._fractal import FractalLayer
from molehunt.defences._implicit_unlearning import unlearn_implicitly
from molehunt.defences._jpeg import JpegCompression
from molehunt.defences._measured_repair import MeasuredRepair, repair
from molehunt.defences._neighbour_labels import relabel_by_neighbours
from molehunt.defences._neuron_pruning import prune_sensitive_neurons
from molehunt.defences._poisoned_loss import PoisonedLoss, SphereAndSlab, bound_poisoned_loss
from molehunt.defences._random_inputs import RandomFeatures, RandomResizing
from molehunt.defences._repair import TUNING, Repaired, RepairMethod
from molehunt.defences._repairs import REPAIRS
from molehunt.defences._roni import reject_negative_impact
from molehunt.defences._smoothing import BallCertificates, NoiseObjective, Smoothed
from molehunt.defences._spectral_signatures import SpectralSignatures
from molehunt.defences._sphere import Sphere
from molehunt.defences._strip import Strip
from molehunt.defences._thermometer import ThermometerCode
from molehunt.defences._total_variation import TotalVariation
from molehunt.defences._trapdoor import Trapdoors, draw_trapdoors
from molehunt.defences._trapdoor_watch import TrapdoorWatch
from molehunt.defences._trimmed_loss import trim_losses

__all__ = [
    "DATA_FILTERS",
    "REPAIRS",
    "TUNING",
    "ActivationClustering",
    "AdversarialObjective",
    "BallCertificates",
    "BitDepth",
    "BoundMethod",
    "BoundedNetwork",
    "BoxCertificates",
    "CertifiedObjective",
    "DataFilter",
    "Defended",
    "DefensiveDistillation",
    "FeatureFilter",
    "Filtered",
    "FinePruned",
    "FractalLayer",
    "JpegCompression",
    "MeasuredRepair",
    "NoiseObjective",
    "OutputNoise",
    "PoisonedLoss",
    "RandomFeatures",
    "RandomResizing",
    "RepairMethod",
    "Repaired",
    "ScaledLogits",
    "Smoothed",
    "SpectralSignatures",
    "Sphere",
    "SphereAndSlab",
    "Step",
    "Strip",
    "ThermometerCode",
    "TotalVariation",
    "TrapdoorWatch",
    "Trapdoors",
    "bound_poisoned_loss",
    "certify_box",
    "distil_attention",
    "draw_trapdoors",
    "drop_at_test_time",
    "filter_images",
    "fine_prune",
    "prune_sensitive_neurons",
    "read_network",
    "reject_negative_impact",
    "relabel_by_neighbours",
    "repair",
    "trigger_success",
    "trim_losses",
    "unlearn_implicitly",
]
