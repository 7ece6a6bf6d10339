"""Images in memory, and where they come from."""

from molehunt.images._image_set import ImageSet, TrainTest
from molehunt.images._sources import SOURCES, load_images, load_test_images

__all__ = ["SOURCES", "ImageSet", "TrainTest", "load_images", "load_test_images"]
