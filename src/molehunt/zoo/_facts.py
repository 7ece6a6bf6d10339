"""What is true of a model of a population, told apart by kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from molehunt.backdoors import Backdoor, Treatment


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BackdoorFacts(_Facts):
    """A backdoor, and what the model got of it.

    `twin` is the id of the backdoored model's clean partner and the reverse (a placebo's twin
    is the clean model too).
    """

    kind: Literal["backdoor"] = "backdoor"
    treatment: Treatment
    twin: str | None
    backdoor: Backdoor


class PropertyFacts(_Facts):
    """A property of the data that the model was trained on, such as the share of a class."""

    kind: Literal["property"] = "property"
    name: str
    value: float


AnyFacts = Annotated[BackdoorFacts | PropertyFacts, Field(discriminator="kind")]
