"""A network with one output: a decision between two classes, or a regression."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molehunt.errors import UnsuitableSubjectError, mismatch
from molehunt.subjects._contract import StatedContract

# Far from what images look like: a logit leaves [0, 1] there, a sigmoid never does.
_SCALES = (0.0, 1.0, -1.0, 100.0, -100.0, 1e4, -1e4)
_TINY = 1e-7


class TwoLogits(nn.Module):
    """Two logits 0 and z for a network whose one output is z, or the sigmoid of z.

    Parameters
    ----------
    network : nn.Module
        From images [N, C, H, W] to [N, 1] or [N].

    Examples
    --------
    >>> half = nn.Sequential(nn.Flatten(), nn.Linear(4, 1), nn.Sigmoid())
    >>> TwoLogits(half)(torch.zeros(3, 1, 2, 2)).shape
    torch.Size([3, 2])
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._is_probability: bool | None = None

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [N, 2] for images [N, C, H, W]."""
        if self._is_probability is None:
            self._is_probability = self._answers_with_probabilities(images)
        output: Tensor = self.network(images)
        z = output.reshape(len(images))
        if self._is_probability:
            z = z.clamp(_TINY, 1 - _TINY).logit()
        return torch.stack([torch.zeros_like(z), z], dim=1)

    @torch.no_grad()
    def _answers_with_probabilities(self, images: Tensor) -> bool:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(2, *images.shape[1:], generator=generator).to(images)
        answers = torch.cat([self.network(scale * noise).reshape(-1) for scale in _SCALES])
        return bool(((answers >= 0) & (answers <= 1)).all())


def check_outputs(contract: StatedContract, given: StatedContract, *, is_graph: bool) -> None:
    """Refuse what answers with one number an image, and is not known to be a classifier.

    A steering angle and the logit of *yes* look alike. Only who knows the model can say that
    its number decides between two classes.

    Parameters
    ----------
    contract : StatedContract
        With what was found beside the model and in it.
    given : StatedContract
        What the user states.
    is_graph : bool
        Whether the file brings its own graph.

    Raises
    ------
    UnsuitableSubjectError
        If there is one output and the user names no classes, or it is a graph's.
    """
    if contract.classes != 1:
        return
    if not (given.classes or given.class_names):
        allowed = "one number a class"
        got = "one number an image, as of a regression: not a classifier, and no check judges it"
        way = "" if is_graph else "; if the number decides between two classes, say `classes` 1"
    elif is_graph:
        allowed = "two or more, one a class, of a graph"
        got = "`classes` 1"
        way = (
            "; a number that decides between two classes is judged from weights alone "
            "(safetensors, state_dict), and a regression by no check"
        )
    else:
        return
    raise UnsuitableSubjectError(mismatch("answers of the model", allowed, got) + way)
