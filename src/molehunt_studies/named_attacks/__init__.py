"""Every named attack on traffic signs: attack success and clean accuracy beside the papers'."""

from molehunt_studies.named_attacks.study import NAMED_ATTACKS

__all__ = ["NAMED_ATTACKS"]
