"""Molehunt plants, hunts and proves backdoors in vision models."""

__version__ = "0.1.0"
