"""Every risk that is assessed, in the order of the report."""

from __future__ import annotations

from collections.abc import Sequence

from molehunt.assess._assessor import Assessor
from molehunt.assess._boundary import Boundary
from molehunt.assess._certified import Certified
from molehunt.assess._corner_cases import CornerCases
from molehunt.assess._evasion import L2Evasion, LinfEvasion
from molehunt.assess._inversion import Inversion
from molehunt.assess._labels import LabelsEvasion
from molehunt.assess._mask import MaskEvasion
from molehunt.assess._membership import Membership
from molehunt.assess._poisoning import Poisoning
from molehunt.assess._property import Property
from molehunt.assess._stealing import Stealing
from molehunt.errors import InvalidRequestError, mismatch

# A new risk is a line here. Certificates come last: they take whatever the others leave.
ASSESSORS: dict[str, Assessor] = {
    each.name: each
    for each in (
        LinfEvasion(),
        L2Evasion(),
        LabelsEvasion(),
        MaskEvasion(),
        Boundary(),
        CornerCases(),
        Stealing(),
        Membership(),
        Inversion(),
        Property(),
        Poisoning(),
        Certified(),
    )
}


def pick_assessors(names: Sequence[str] = ()) -> list[Assessor]:
    """Return assessors by name, all without a name, in the order of the report.

    Raises
    ------
    InvalidRequestError
        If there is no such risk.
    """
    unknown = [name for name in names if name not in ASSESSORS]
    if unknown:
        raise InvalidRequestError(
            mismatch("`only`", f"of {', '.join(ASSESSORS)}", repr(unknown[0]))
        )
    return [each for name, each in ASSESSORS.items() if not names or name in names]
