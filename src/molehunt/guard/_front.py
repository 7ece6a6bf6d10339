"""A classifier in front of another one."""

from __future__ import annotations

from typing import cast

from molehunt.networks import Access, Classifier


class Front(Classifier):
    """What stands between a model and who asks it. Who asks sees no weights.

    Parameters
    ----------
    model : Classifier
    """

    gives = frozenset({Access.LOGITS})
    stackable = False

    def __init__(self, model: Classifier) -> None:
        super().__init__(model, model.card)
        self.to(model.mean.device)
        self.answers = model.answers
        self.eval()

    @property
    def behind(self) -> Classifier:
        """The model that is asked next."""
        return cast(Classifier, self.network)

    @property
    def measured(self) -> Classifier:
        """The model behind all fronts."""
        return self.behind.measured
