"""The studies that come with Molehunt, a folder each; `molehunt.study` runs them."""
