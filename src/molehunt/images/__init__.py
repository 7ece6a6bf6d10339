"""Images in memory, and where they come from."""

from molehunt.images._decoded import cache_folder
from molehunt.images._image_set import ImageSet, TrainTest
from molehunt.images._npz import StoredArray, read_arrays
from molehunt.images._pictures import FORMATS, read_rgb, write_png
from molehunt.images._sources import SOURCE_FORMS, SOURCES, find_data, load_images, load_test_images

__all__ = [
    "FORMATS",
    "SOURCES",
    "SOURCE_FORMS",
    "ImageSet",
    "StoredArray",
    "TrainTest",
    "cache_folder",
    "find_data",
    "load_images",
    "load_test_images",
    "read_arrays",
    "read_rgb",
    "write_png",
]
