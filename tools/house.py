"""A rule of the house for import-linter: import from the package, not from its private modules."""

from __future__ import annotations

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class FromThePackage(Contract):
    """A module whose name starts with ``_`` is imported within its own package only.

    Modules of a package are those below it; `allowed` names exceptions, as ``a.b -> a.c._d``.
    """

    allowed = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Return the imports that break the rule."""
        allowed = set(self.allowed or ())
        broken = [
            f"{importer} -> {module}"
            for module in sorted(graph.modules)
            if module.rpartition(".")[2].startswith("_") and not module.endswith("__")
            for importer in sorted(graph.find_modules_that_directly_import(module))
            if not f"{importer}.".startswith(f"{module.rpartition('.')[0]}.")
        ]
        broken = [line for line in broken if line not in allowed]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print them."""
        for line in check.metadata["broken"]:
            output.print_error(line)
