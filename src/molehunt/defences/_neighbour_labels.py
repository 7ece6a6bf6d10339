"""Labels that contradict those of a point's neighbours are changed to theirs."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from molehunt.arrays import Floats
from molehunt.defences._suspects import Labels, check_suspects
from molehunt.errors import InvalidRequestError, mismatch


def relabel_by_neighbours(
    points: Floats, labels: Labels, *, neighbours: int = 10, agreement: float = 0.5
) -> Labels:
    """Return labels that most neighbours agree with (Paudice and others, 2018, Algorithm 2).

    Each point gets the commonest label among its nearest neighbours, itself not counted, where
    at least the share `agreement` of them has it. All are judged by the labels as they were. A
    tie changes nothing.

    Parameters
    ----------
    points, labels : arrays, shapes [N, D] and [N]
        The training set that may be poisoned.
    neighbours : int
        By Euclidean distance.
    agreement : float
        In [0, 1].

    Returns
    -------
    array, shape [N]

    Raises
    ------
    InvalidRequestError
        If there are no two classes, or no such number of neighbours.

    Examples
    --------
    >>> import numpy as np
    >>> from molehunt.defences import relabel_by_neighbours
    >>> points = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]])
    >>> labels = np.array([0, 0, 1, 1, 1, 1])
    >>> relabel_by_neighbours(points, labels, neighbours=2, agreement=1.0).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    check_suspects(points, labels)
    if not (1 <= neighbours < len(labels) and 0 <= agreement <= 1):
        allowed = f"1 to {len(labels) - 1} neighbours and a share in [0, 1]"
        got = f"{neighbours} neighbours, agreement {agreement}"
        raise InvalidRequestError(mismatch("relabelling", allowed, got))
    classes, own = np.unique(labels, return_inverse=True)
    # Without points of their own the search leaves each one out of its neighbours.
    nearest = NearestNeighbors(n_neighbors=neighbours).fit(points).kneighbors(return_distance=False)
    votes = (own[nearest][:, :, None] == np.arange(len(classes))).mean(1)
    winner, most = votes.argmax(1), votes.max(1)
    clear = (most >= agreement) & ((votes == most[:, None]).sum(1) == 1)
    changed: Labels = np.where(clear, classes[winner], labels)
    return changed
