"""Zoos of earlier versions: their plans and the lines of their indices, in today's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Until November 2026 a plan had every trigger's settings side by side.
_TRIGGER_FIELDS = frozenset(
    {"count", "size", "sizes", "colours", "path", "picture", "opacity", "placement", "margin"}
)
_FIELDS_OF = {
    "random_patch": ("count", "size", "sizes", "colours", "placement", "margin"),
    "blended": ("count", "opacity"),
    "single_pixel": ("placement",),
    "badnets_pattern": ("placement",),
    "sticker": ("path", "picture", "size", "opacity", "placement", "margin"),
}
_FAMILIES = {"random_patch": "random_patches", "blended": "random_blends"}


def upgrade_backdoors(content: Any) -> Any:
    """Return a plan's table of backdoors with the trigger as a table of its own.

    What is not of the old form is returned as it is.
    """
    if not isinstance(content, Mapping):
        return content
    fields = _TRIGGER_FIELDS & content.keys()
    name = content.get("trigger", "random_patch" if fields else None)
    if not isinstance(name, str) or name not in _FIELDS_OF:
        return content
    trigger = {
        field: content[field]
        for field in _FIELDS_OF[name]
        if field in fields and content[field] is not None
    }
    if sizes := trigger.pop("sizes", None):
        trigger["size"] = sizes
    others = {key: value for key, value in content.items() if key not in fields}
    return {**others, "trigger": {"kind": _FAMILIES.get(name, name), **trigger}}


def upgrade_entry(content: Any, backdoors: Mapping[str, Any] | None) -> Any:
    """Return a line of an index with its facts as a table of its own.

    `backdoors` are the rate and the like, which stood in the zoo's plan alone. What is not of
    the old form is returned as it is.
    """
    if not isinstance(content, Mapping) or backdoors is None or "facts" in content:
        return content
    if not isinstance(content.get("backdoor"), Mapping):
        return content
    old = {"treatment", "twin", "backdoor"}
    others = {key: value for key, value in content.items() if key not in old}
    facts = {key: content[key] for key in old & content.keys()}
    facts["backdoor"] = {**content["backdoor"], **backdoors}
    return {**others, "facts": {"kind": "backdoor", **facts}}
