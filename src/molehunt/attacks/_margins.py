"""How far a model's answers are from what an attack wants."""

from __future__ import annotations

import torch
from torch import Tensor


def margins(logits: Tensor, labels: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return how much each image lacks to be taken for what is wanted, float [N].

    It is negative where an attack succeeded: where another class than the label is ahead, or
    with `targets` where the target is. Confidences serve in the place of logits.

    Examples
    --------
    >>> logits, labels = torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([0])
    >>> margins(logits, labels).tolist(), margins(logits, labels, torch.tensor([2])).tolist()
    ([2.0], [3.0])
    """
    wanted = labels if targets is None else targets
    own = logits.gather(1, wanted[:, None]).squeeze(1)
    best_other = logits.scatter(1, wanted[:, None], -torch.inf).amax(1)
    return own - best_other if targets is None else best_other - own
