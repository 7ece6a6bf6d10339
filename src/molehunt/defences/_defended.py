"""A classifier behind a defence that changes what goes in or what comes out."""

from __future__ import annotations

from torch import Tensor, nn

from molehunt.errors import InvalidRequestError, UnsuitableSubjectError, mismatch
from molehunt.networks import Answers, Classifier, ModelCard


class Defended(Classifier):
    """A model with something before its pixels, after its logits, or both.

    It is a classifier like any other, so it can be trained, attacked, measured and scanned. It
    answers as deployed: a random part draws anew for each question. It has no file: save the
    model inside and wrap it again.

    Parameters
    ----------
    model : Classifier
        Not changed.
    before : nn.Module, optional
        From pixels [N, C, H, W] in [0, 1] to what the model takes.
    after : nn.Module, optional
        From logits [N, K] to logits [N, K].
    input_shape : (channels, height, width), optional
        Of the pixels, where the model itself takes another form, as a thermometer code.

    Raises
    ------
    InvalidRequestError
        Without any part.

    Examples
    --------
    >>> from molehunt.defences import BitDepth
    >>> from molehunt.images import load_images
    >>> from molehunt.networks import build_classifier
    >>> digits = load_images("digits")
    >>> vgg = {"width": 4, "stages": [1, 1]}
    >>> model = build_classifier("vgg", digits.train, arguments=vgg, seed=0)
    >>> defended = Defended(model, before=BitDepth(bits=1))
    >>> defended(digits.test.pixels()[:5]).shape
    torch.Size([5, 10])
    """

    stackable = False

    def __init__(
        self,
        model: Classifier,
        *,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
        input_shape: tuple[int, int, int] | None = None,
    ) -> None:
        if before is None and after is None:
            raise InvalidRequestError(mismatch("defence", "a part before or after", "none"))
        shape = input_shape or model.card.input_shape
        # The model inside brings colours and numbers into their own form.
        card = ModelCard(
            input_shape=shape,
            mean=(0.0,) * shape[0],
            std=(1.0,) * shape[0],
            class_names=model.card.class_names,
            architecture=f"defended {model.card.architecture}",
        )
        super().__init__(model, card)
        self.before = before or nn.Identity()
        self.after = after or nn.Identity()
        self.gives = model.gives
        self.answers = Answers(doubt=model.answers.doubt)
        self.train(model.training)

    def levels(self, images: Tensor, depth: int) -> tuple[Tensor, ...]:
        """Return the logits; what lies before a squashing function is not shown.

        Raises
        ------
        UnsuitableSubjectError
            For a `depth` above 0, or as the model inside.
        """
        if depth:
            raise UnsuitableSubjectError("a defended model does not show what it squashes")
        return (self.after(self.network(self.before(images))),)
