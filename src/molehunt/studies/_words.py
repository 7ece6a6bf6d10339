"""How figures of detectors are put in the tables of studies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def auc_text(item: Mapping[str, Any] | None) -> str:
    """Return an AUC with its interval, a dash where there is none."""
    if item is None:
        return "-"
    low, high = item["interval"]
    return f"{item['auc']:.3f} [{low:.3f}, {high:.3f}]"


def rates_text(item: Mapping[str, float] | None) -> str:
    """Return false alarms and detections in percent, a dash where there are none."""
    if item is None:
        return "-"
    return f"{item['false_alarm_rate']:.0%} / {item['detection_rate']:.0%}"
