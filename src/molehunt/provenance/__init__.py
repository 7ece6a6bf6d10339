"""Where a file comes from and what it would do: digests and unsafe serialization."""

from molehunt.provenance._serialization import (
    Serialization,
    SerializationState,
    inspect_serialization,
)

__all__ = ["Serialization", "SerializationState", "inspect_serialization"]
