"""Fitting models that are changed a little each time they are met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from molehunt.detectors._stacking import ModelStack, Stack
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, from_validation, mismatch

# Cosine of two models' weights. Of 128 networks of digits it was 0.75 to 0.95 where they had
# started from the same weights, and at most 0.10 elsewhere.
_LEAST_LIKENESS = 0.5


class ModelAugmentation(BaseModel):
    """How the weights of fitting models are changed, afresh at every step.

    The future work of Universal Litmus Patterns; random masks are ArcGen's, too. Dropped
    channels are the detector's own setting ``dropout``. Exchanged channels are no kind: they
    leave what a network computes as it was, and litmus patterns see only that.

    Parameters
    ----------
    mask : float
        Share of the weights that are set to 0, in [0, 1). Biases and normalisation stay.
    noise : float
        Standard deviation of noise that is added to the weights, over that of the model's
        own weights in the tensor.
    interpolate : float
        A model moves towards another one of its label by a share of the way that is drawn
        from [0, `interpolate`], at most 0.5. The other one is drawn among those in its chunk
        that started from the same initial weights, as the likeness of the weights tells. A
        model without such a partner stays as it is: half-way between two initialisations lies
        a network that classifies nothing. Zoos of `molehunt.zoo` start each pair of twins from
        weights of its own, so that no two models of a label are partners there.

    Examples
    --------
    >>> ModelAugmentation(mask=0.05)
    ModelAugmentation(mask=0.05, noise=0.0, interpolate=0.0)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mask: float = Field(default=0.0, ge=0, lt=1)
    noise: float = Field(default=0.0, ge=0, le=10)
    interpolate: float = Field(default=0.0, ge=0, le=0.5)

    @classmethod
    def read(cls, setting: Self | Mapping[str, Any] | None) -> Self:
        """Return a detector's setting, which its file and the command line give as a mapping.

        Raises
        ------
        InvalidRequestError
            For an unknown kind or an impossible share.
        """
        if isinstance(setting, cls):
            return setting
        try:
            return cls.model_validate({} if setting is None else setting)
        except ValidationError as error:
            raise from_validation(error, "augment") from error

    @property
    def changes(self) -> bool:
        """Whether anything is changed."""
        return any((self.mask, self.noise, self.interpolate))

    def check_partners(self, stacks: list[Stack], labels: Tensor) -> None:
        """Refuse to interpolate where no model has a partner.

        Raises
        ------
        InvalidRequestError
        """
        if not self.interpolate:
            return
        found = any(
            bool(_partners(stack, labels[stack.positions]).any())
            for stack in stacks
            if isinstance(stack, ModelStack)
        )
        if not found:
            allowed = "two models of one label, architecture and initialisation in a chunk"
            raise InvalidRequestError(
                f"{mismatch('models to interpolate', allowed, 'none')}; leave interpolate at 0"
            )

    def change(self, stack: Stack, labels: Tensor, generator: torch.Generator) -> Stack:
        """Return a stack whose models are changed; the stack itself stays as it is.

        Parameters
        ----------
        stack : Stack
        labels : Tensor [n]
            Of its models.
        generator : torch.Generator
            On the device of the weights.

        Raises
        ------
        UnsuitableSubjectError
            If its model is one whose weights are not stacked.
        """
        if not self.changes:
            return stack
        if not isinstance(stack, ModelStack):
            raise UnsuitableSubjectError(
                mismatch("model", "one of our own architectures to augment", "one that is not")
            )
        if self.interpolate:
            stack = self._interpolate(stack, labels, generator)
        parameters = {
            name: self._disturb(weights, generator) if _is_weight(weights) else weights
            for name, weights in stack.parameters.items()
        }
        return replace(stack, parameters=parameters)

    def _disturb(self, weights: Tensor, generator: torch.Generator) -> Tensor:
        """Add noise to weights [n, out, in, ...], then mask them."""
        device = weights.device
        if self.noise:
            spread = weights.flatten(1).std(1).view(-1, *[1] * (weights.ndim - 1))
            drawn = torch.randn(weights.shape, generator=generator, device=device)
            weights = weights + self.noise * spread * drawn
        if self.mask:
            drawn = torch.rand(weights.shape, generator=generator, device=device)
            weights = weights * (drawn >= self.mask)
        return weights

    def _interpolate(
        self, stack: ModelStack, labels: Tensor, generator: torch.Generator
    ) -> ModelStack:
        """Move each model that has partners towards one of them, parameters and statistics."""
        partners = _partners(stack, labels)
        alone = ~partners.any(1)
        # A model alone is its own partner, so that each row has something to draw from.
        chances = partners.float() + torch.diag(alone.float())
        other = torch.multinomial(chances, 1, generator=generator)[:, 0]
        way = self.interpolate * torch.rand(len(other), generator=generator, device=other.device)

        def move(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {
                name: torch.lerp(value, value[other], way.view(-1, *[1] * (value.ndim - 1)))
                if value.is_floating_point()
                else value
                for name, value in tensors.items()
            }

        return replace(stack, parameters=move(stack.parameters), buffers=move(stack.buffers))


def _is_weight(stacked: Tensor) -> bool:
    """Tell matrices and kernels, [n, out, in, ...], from biases and what normalisation has."""
    return stacked.ndim > 2


def _partners(stack: ModelStack, labels: Tensor) -> Tensor:
    """Tell which models [n, n] of a stack may be mixed: of one label and initialisation."""
    weights = [each.flatten(1) for each in stack.parameters.values() if _is_weight(each)]
    flat = torch.nn.functional.normalize(torch.cat(weights, 1).float(), dim=1)
    alike = (flat @ flat.T > _LEAST_LIKENESS) & (labels[:, None] == labels[None])
    return alike & ~torch.eye(len(labels), dtype=torch.bool, device=alike.device)
