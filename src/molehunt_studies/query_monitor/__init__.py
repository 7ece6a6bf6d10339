"""Attacks through a guard that watches queries, and what many accounts buy."""

from molehunt_studies.query_monitor.study import QUERY_MONITOR

__all__ = ["QUERY_MONITOR"]
