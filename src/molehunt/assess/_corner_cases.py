"""Corner cases: light, weather and cameras, at five severities."""

from __future__ import annotations

from molehunt.assess._assessor import Assessor, Found
from molehunt.assess._case import Case, Purse
from molehunt.assess._chase import first_images
from molehunt.assess._draw import draw_lines, picture_of, rates_line, share_of
from molehunt.networks import Reveals
from molehunt.testing import SEVERITIES, corrupt, measure_corruptions, usual_corruptions

_FEWEST, _SEVERITY, _DRAWN = 20, 3, 5


class CornerCases(Assessor):
    """The accuracy under the corruption that hurts the most, at the middle severity.

    Nobody attacks. The worst of several is a little worse by chance alone.
    """

    name = "corner-cases"
    title = "Bad light, weather and cameras"
    share = 1.0
    measures = ("worst", "clean")

    def obstacle(self, case: Case) -> str:
        """Labels are enough."""
        return case.guesses

    def measure(self, case: Case, purse: Purse) -> Found:
        """Ask about as many held images as are paid for."""
        names = usual_corruptions(case.held.shape[0])
        each = 1 + len(names) * len(SEVERITIES)
        purse.check(_FEWEST * each, f"{len(names)} corruptions of {_FEWEST} images")
        images = first_images(case.held, purse.queries // each)
        done = [0]

        def pay(number: int, _total: int) -> None:
            purse.pay(len(images) * len(SEVERITIES) * (number - done[0]))
            done[0] = number

        purse.pay(len(images))
        curves = measure_corruptions(case.model, images, names, seed=case.seed, progress=pay)
        curves.sort(key=lambda curve: curve.mean)
        worst = min(curves, key=lambda curve: curve.right[_SEVERITY])
        of, clean, left = len(images), worst.right[0], worst.right[_SEVERITY]
        first = first_images(images, 1).images
        return Found(
            words=f"{clean} of {of} images are right as they are; of the {len(names)} corruptions "
            f"at severity {_SEVERITY} of 5, {worst.corruption} leaves the fewest, {left}.",
            sees=Reveals.LABELS,
            may="do nothing; scenes and cameras do",
            measures=[
                share_of("worst", left, of, bad=False),
                share_of("clean", clean, of, bad=False),
            ],
            exhibits=(
                draw_lines(
                    f"Accuracy over the severity, for the {_DRAWN} worst corruptions",
                    [
                        rates_line(
                            curve.corruption,
                            [0.0, *map(float, SEVERITIES)],
                            [curve.accuracy(severity) for severity in (0, *SEVERITIES)],
                        )
                        for curve in curves[:_DRAWN]
                    ],
                    ("severity", "accuracy"),
                ),
                *(
                    picture_of(
                        f"{curve.corruption}, severity {_SEVERITY}",
                        corrupt(first, curve.corruption, _SEVERITY, seed=case.seed)[0],
                    )
                    for curve in curves[:_DRAWN]
                ),
            ),
        )
