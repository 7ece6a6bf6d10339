"""Attacks: evasion, stealing, inversion, trojans, trigger searches, poison for learners."""

from molehunt.attacks._approximate_backward import (
    Approximable,
    Approximation,
    approximate_backward,
)
from molehunt.attacks._auto_projected_gradient import AutoProjectedGradient
from molehunt.attacks._bit_flips import flip_bits
from molehunt.attacks._curves import SecurityCurve, curve_of, sweep
from molehunt.attacks._dose_law import predict_dose
from molehunt.attacks._equation_solving import EquationSolving
from molehunt.attacks._evasion import Evaded, EvasionAttack, Norm, check_attack, evade, to_bytes
from molehunt.attacks._exposure import Exposure, measure_membership
from molehunt.attacks._greedy import GreedyAttack
from molehunt.attacks._handcrafted import handcraft
from molehunt.attacks._image_priors import Prior
from molehunt.attacks._infer_membership import USUAL_FPRS, Inferred, infer_membership
from molehunt.attacks._input_aware import InputAware, teach_input_aware
from molehunt.attacks._inversion import Inverted, ModelInversion
from molehunt.attacks._label_consistent import LabelConsistent, teach_label_consistent
from molehunt.attacks._label_robustness import LabelRobustness
from molehunt.attacks._likelihood_ratio import LikelihoodRatio, Variance, likelihood_ratios
from molehunt.attacks._linear_backdoor import Dose, grow_poison
from molehunt.attacks._masked import Masked
from molehunt.attacks._masks import check_mask, draw_eyeglasses, draw_sticker, read_mask
from molehunt.attacks._measure import Measured, measure_evasion
from molehunt.attacks._membership import LossThreshold, MembershipAttack, ask_shares
from molehunt.attacks._neuron_trigger import generate_trigger, most_excitable
from molehunt.attacks._neurons import NeuronChoice, Neurons, choose_neurons, neuron_layers
from molehunt.attacks._path_finding import PathFinding
from molehunt.attacks._planted import Planted
from molehunt.attacks._plants import PLANTED
from molehunt.attacks._printing import nearest_colours, printable_palette
from molehunt.attacks._projected_gradient import Loss, ProjectedGradient
from molehunt.attacks._query_and_train import Choice, QueryAndTrain
from molehunt.attacks._random_search import RandomPoints, RandomSquares
from molehunt.attacks._registry import ATTACKS, AttackKind, new_attack
from molehunt.attacks._robust_membership import RobustMembership, robust_scores
from molehunt.attacks._shadow_models import ShadowModels, draw_members
from molehunt.attacks._stolen import Stolen, total_variation, uniform_images
from molehunt.attacks._subnet import replace_subnet
from molehunt.attacks._svm_poisoning import SvmPoison, SvmPoisoning
from molehunt.attacks._swarm import Swarm
from molehunt.attacks._taught import TAUGHT, Triggering
from molehunt.attacks._training_images import reverse_images
from molehunt.attacks._transferred import Transferred
from molehunt.attacks._trigger_masks import MASK_SHAPES, MaskShape, trigger_mask
from molehunt.attacks._trigger_search import (
    Masks,
    Patches,
    Tasks,
    check_search_settings,
    pools_of,
    search_masks,
    search_patches,
)
from molehunt.attacks._trojaning import Retraining, Trojan, trojan
from molehunt.attacks._unnoticed import UnnoticedGradient
from molehunt.attacks._views import Seen, Views
from molehunt.attacks._warning_signs import (
    Robustness,
    Sign,
    WarningSigns,
    find_warning_signs,
)
from molehunt.attacks._worn import RandomColours, Worn

__all__ = [
    "ATTACKS",
    "MASK_SHAPES",
    "PLANTED",
    "TAUGHT",
    "USUAL_FPRS",
    "Approximable",
    "Approximation",
    "AttackKind",
    "AutoProjectedGradient",
    "Choice",
    "Dose",
    "EquationSolving",
    "Evaded",
    "EvasionAttack",
    "Exposure",
    "GreedyAttack",
    "Inferred",
    "InputAware",
    "Inverted",
    "LabelConsistent",
    "LabelRobustness",
    "LikelihoodRatio",
    "Loss",
    "LossThreshold",
    "MaskShape",
    "Masked",
    "Masks",
    "Measured",
    "MembershipAttack",
    "ModelInversion",
    "NeuronChoice",
    "Neurons",
    "Norm",
    "Patches",
    "PathFinding",
    "Planted",
    "Prior",
    "ProjectedGradient",
    "QueryAndTrain",
    "RandomColours",
    "RandomPoints",
    "RandomSquares",
    "Retraining",
    "RobustMembership",
    "Robustness",
    "SecurityCurve",
    "Seen",
    "ShadowModels",
    "Sign",
    "Stolen",
    "SvmPoison",
    "SvmPoisoning",
    "Swarm",
    "Tasks",
    "Transferred",
    "Triggering",
    "Trojan",
    "UnnoticedGradient",
    "Variance",
    "Views",
    "WarningSigns",
    "Worn",
    "approximate_backward",
    "ask_shares",
    "check_attack",
    "check_mask",
    "check_search_settings",
    "choose_neurons",
    "curve_of",
    "draw_eyeglasses",
    "draw_members",
    "draw_sticker",
    "evade",
    "find_warning_signs",
    "flip_bits",
    "generate_trigger",
    "grow_poison",
    "handcraft",
    "infer_membership",
    "likelihood_ratios",
    "measure_evasion",
    "measure_membership",
    "most_excitable",
    "nearest_colours",
    "neuron_layers",
    "new_attack",
    "pools_of",
    "predict_dose",
    "printable_palette",
    "read_mask",
    "replace_subnet",
    "reverse_images",
    "robust_scores",
    "search_masks",
    "search_patches",
    "sweep",
    "teach_input_aware",
    "teach_label_consistent",
    "to_bytes",
    "total_variation",
    "trigger_mask",
    "trojan",
    "uniform_images",
]
