"""Molehunt plants, hunts and proves backdoors in vision models."""

__version__ = "0.1.0"

import os

# Threads of OpenMP that spin while they wait slow each other down on a busy machine; a short
# spin costs an idle one little. libgomp reads it when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
