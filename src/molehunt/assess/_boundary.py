"""The decision boundary: how far it is, and what lies there."""

from __future__ import annotations

from molehunt.assess._assessor import Assessor, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._draw import picture_of, share_of
from molehunt.networks import Reveals
from molehunt.testing import walk_lines

_LINES, _POINTS, _FEWEST = 100, 21, 10


class Boundary(Assessor):
    """The share of lines between two images on which the model sees a third class.

    Nobody attacks: the lines join images of different classes, and what lies between is a mixture
    of both. Labels are enough.
    """

    name = "boundary"
    title = "Between the classes"
    share = 1.0
    measures = ("third",)

    def obstacle(self, case: Case) -> str:
        """It takes images of two classes that are right."""
        return case.guesses

    def measure(self, case: Case, purse: Purse) -> Found:
        """Walk along as many lines as are paid for."""
        cost = _POINTS
        purse.check(_FEWEST * cost + len(case.right), f"{_FEWEST} lines")
        # That the ends are right is asked again.
        lines = min(_LINES, (purse.left - len(case.right)) // cost)
        found = walk_lines(case.model, case.right, lines=lines, points=_POINTS, seed=case.seed)
        purse.pay(len(case.right) + lines * cost)
        odd, of = int(found.third.sum()), lines
        names = case.model.card.class_names
        shown = found.third.nonzero().flatten()[:1].tolist() or [0]
        pictures = found.pictures(shown[0])[:: _POINTS // 7]
        labels = found.classes[shown[0]][:: _POINTS // 7].tolist()
        return Found(
            words=f"On {odd} of {of} lines between two images that are right, the model sees a "
            "class of neither.",
            sees=Reveals.LABELS,
            may="do nothing: images are mixed",
            measures=[share_of("third", odd, of)],
            exhibits=tuple(
                picture_of(f"taken for {names[label]}", image)
                for label, image in zip(labels, pictures, strict=True)
            ),
        )
