"""Rules of the house that `make check` holds."""
