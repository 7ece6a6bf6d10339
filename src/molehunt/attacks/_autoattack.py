"""AutoAttack: the ensemble without settings whose number is reported."""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from molehunt.attacks._evasion import Norm
from molehunt.attacks._library import Record, seed_globals, settle
from molehunt.errors import InvalidRequestError, mismatch, need_extra
from molehunt.networks import BudgetSpentError, Queried, Reveals

# The library warns of random answers and hidden gradients; `find_warning_signs` measures them.
_SILENT = logging.getLogger("molehunt.autoattack")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


@dataclass(frozen=True)
class AutoAttack:
    """Croce and Hein (2020) by pyautoattack: APGD, targeted APGD, targeted FAB and Square.

    A model with fewer than ten classes has fewer targets than the standard's nine; with three
    classes APGD climbs the untargeted DLR loss and with two FAB is untargeted, too, because the
    losses of the standard do not exist there.

    Parameters
    ----------
    norm : {Norm.LINF, Norm.L2}
    epsilon : float
    version : {"standard", "rand"}
        ``rand`` is for models that answer at random: APGD on two losses, over 20 draws a step.

    Raises
    ------
    MissingExtraError
        If pyautoattack is not installed.
    InvalidRequestError
        If there is no such version, or a class is wanted: AutoAttack takes no target.
    """

    name: ClassVar[str] = "autoattack"
    needs: ClassVar[Reveals] = Reveals.WEIGHTS

    norm: Norm
    epsilon: float
    version: Literal["standard", "rand"] = "standard"

    def __post_init__(self) -> None:
        if self.version not in ("standard", "rand"):
            raise InvalidRequestError(mismatch("version", "standard or rand", self.version))
        _import_library()

    def perturb(
        self,
        target: Queried,
        images: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        generator: torch.Generator,
    ) -> Tensor:
        """Return changed images, float32 [N, C, H, W]; as `EvasionAttack` says."""
        if targets is not None:
            raise InvalidRequestError(mismatch("attack autoattack", "no target", "one"))
        images, labels = images.to(target.device), labels.to(target.device)
        record = Record(target, images, labels, None, self.norm)
        trace = sys.gettrace()
        try:
            with seed_globals(generator, target.device) as seed:
                library = self._new(record, target, seed)
                found, _ = library.run_standard_evaluation(images, labels, batch_size=len(images))
        except BudgetSpentError as error:
            error.found = record.best
            raise
        finally:
            sys.settrace(trace)  # the library's check of dynamic models takes it away
        return settle(target, found, images, labels, None, self.norm, self.epsilon)[0]

    def _new(self, record: Record, target: Queried, seed: int) -> Any:
        norm = {Norm.LINF: "Linf", Norm.L2: "L2"}[self.norm]
        library = _import_library().AutoAttack(
            record,
            device=target.device,
            eps=self.epsilon,
            norm=norm,
            seed=seed,
            version=self.version,
        )
        library.logger = library.apgd.logger = library.apgd_targeted.logger = _SILENT
        library.attacks_to_run = self._parts(target.num_classes)
        most = min(9, target.num_classes - 1)
        library.apgd_targeted.n_target_classes = library.fab.n_target_classes = most
        return library

    def _parts(self, num_classes: int) -> list[str]:
        """Return the standard's attacks whose losses exist for so many classes."""
        if self.version == "rand":
            return ["apgd-ce", "apgd-dlr"][: 2 if num_classes > 2 else 1]
        if num_classes == 2:
            return ["apgd-ce", "fab", "square"]
        return ["apgd-ce", "apgd-t" if num_classes > 3 else "apgd-dlr", "fab-t", "square"]


def _import_library() -> Any:
    return need_extra("attacks", "pyautoattack", "AutoAttack")
