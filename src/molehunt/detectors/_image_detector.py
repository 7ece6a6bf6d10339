"""Detectors without a zoo that are given clean images."""

from __future__ import annotations

from typing import ClassVar

from molehunt.detectors._zoo_free import ZooFreeDetector
from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.images import ImageSet
from molehunt.networks import Classifier


class ImageDetector(ZooFreeDetector):
    """A detector without a zoo that is given clean images of the model's classes.

    Parameters
    ----------
    images : ImageSet
        Clean images with their labels; kept out of the detector's file.
    """

    needs_images: ClassVar[bool] = True

    images: ImageSet | None

    def _check_settings(self) -> None:
        super()._check_settings()
        if not isinstance(self.images, ImageSet) or not len(self.images):
            got = "none" if self.images is None else type(self.images).__name__
            if isinstance(self.images, ImageSet):
                got = "an empty one"
            raise InvalidRequestError(
                mismatch(f"images of {type(self).__name__}", "an ImageSet of clean images", got)
            )

    def check_subject(self, model: Classifier) -> None:
        """Refuse a model that this detector cannot judge, also one of other images.

        Raises
        ------
        InvalidRequestError
            If there are no clean images.
        UnsuitableSubjectError
            With the property that does not fit.
        """
        super().check_subject(model)
        images = self._clean_images()
        if images.shape != model.card.input_shape:
            raise UnsuitableSubjectError(
                mismatch(
                    "input shape of the model", f"{images.shape} (images)", model.card.input_shape
                )
            )
        if images.num_classes != model.card.num_classes:
            raise UnsuitableSubjectError(
                mismatch(
                    "classes of the model", f"{images.num_classes} (images)", model.card.num_classes
                )
            )

    def _clean_images(self) -> ImageSet:
        self._check_settings()
        assert self.images is not None
        return self.images
