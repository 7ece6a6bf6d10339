"""Renderers of findings and figures: terminal, JSON, SARIF, ML-BOM and HTML."""

from molehunt.report._article import write_article
from molehunt.report._assessment import (
    AssessedModel,
    assessment_as_json,
    assessment_lines,
    assessment_table,
)
from molehunt.report._assessment_page import write_assessment_page
from molehunt.report._assessment_sarif import assessment_as_sarif
from molehunt.report._bom import scan_as_bom
from molehunt.report._evasion import (
    CSV_MARKS,
    curve_figure,
    evasion_as_json,
    evasion_table,
    save_curves,
    threat_model,
    write_evasion,
)
from molehunt.report._figures import (
    roc_figure,
    save_roc,
    save_triggers,
    trigger_on_grey,
    triggers_of,
)
from molehunt.report._filter import (
    filter_as_json,
    filter_table,
    save_kept,
    save_removed,
)
from molehunt.report._guard import replay_as_json, replay_table
from molehunt.report._html import template, write_scan_page
from molehunt.report._inversion import (
    INVERSION_MARKS,
    JUDGED_BY_NOBODY,
    inversion_as_json,
    inversion_table,
    write_inversion,
)
from molehunt.report._json import scan_as_json, scan_json_schema
from molehunt.report._membership import (
    exposure_as_json,
    membership_as_json,
    membership_figure,
    membership_table,
    save_membership,
)
from molehunt.report._sarif import scan_as_sarif
from molehunt.report._scan_context import scan_context
from molehunt.report._terminal import evaluation_table, scan_table, zoo_tables
from molehunt.report._testing import (
    comparison_as_json,
    comparison_table,
    examined_as_json,
    examined_tables,
)
from molehunt.report._words import contract_line, other_files

__all__ = [
    "CSV_MARKS",
    "INVERSION_MARKS",
    "JUDGED_BY_NOBODY",
    "AssessedModel",
    "assessment_as_json",
    "assessment_as_sarif",
    "assessment_lines",
    "assessment_table",
    "comparison_as_json",
    "comparison_table",
    "contract_line",
    "curve_figure",
    "evaluation_table",
    "evasion_as_json",
    "evasion_table",
    "examined_as_json",
    "examined_tables",
    "exposure_as_json",
    "filter_as_json",
    "filter_table",
    "inversion_as_json",
    "inversion_table",
    "membership_as_json",
    "membership_figure",
    "membership_table",
    "other_files",
    "replay_as_json",
    "replay_table",
    "roc_figure",
    "save_curves",
    "save_kept",
    "save_membership",
    "save_removed",
    "save_roc",
    "save_triggers",
    "scan_as_bom",
    "scan_as_json",
    "scan_as_sarif",
    "scan_context",
    "scan_json_schema",
    "scan_table",
    "template",
    "threat_model",
    "trigger_on_grey",
    "triggers_of",
    "write_article",
    "write_assessment_page",
    "write_evasion",
    "write_inversion",
    "write_scan_page",
    "zoo_tables",
]
