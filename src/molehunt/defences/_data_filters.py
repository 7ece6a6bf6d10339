"""The filters of training images by name: one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from molehunt.defences._activation_clustering import ActivationClustering
from molehunt.defences._data_filter import DataFilter
from molehunt.defences._spectral_signatures import SpectralSignatures
from molehunt.defences._sphere import Sphere
from molehunt.defences._strip import Strip

DATA_FILTERS: Mapping[str, Callable[[], DataFilter]] = {
    each.name: each for each in (ActivationClustering, SpectralSignatures, Sphere, Strip)
}
