"""A fuzzer of everything that Molehunt reads from strangers; see ``__main__``."""
