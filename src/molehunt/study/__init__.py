"""Studies: the experiments of a paper run again, with its numbers beside ours.

A study is a folder of files: its plan, stages and measures (``study.py``), its figures, the
paper's numbers (``paper.toml``) and its report (``report.md.j2``). It lives outside this package
and is found by an entry point of the group ``molehunt.studies``.
"""

from molehunt.study._demo import DEMO_PLAN, run_demo
from molehunt.study._folders import results_in
from molehunt.study._hardware import hardware, peak_memory
from molehunt.study._registry import load_study, study_names
from molehunt.study._report import Report
from molehunt.study._run import StudyResult, run
from molehunt.study._stages import Bench, Records, Stage, ZooStage
from molehunt.study._study import Study, plan_for
from molehunt.study._words import percent
from molehunt.study._zoos import zoo_figures

__all__ = [
    "DEMO_PLAN",
    "Bench",
    "Records",
    "Report",
    "Stage",
    "Study",
    "StudyResult",
    "ZooStage",
    "hardware",
    "load_study",
    "peak_memory",
    "percent",
    "plan_for",
    "results_in",
    "run",
    "run_demo",
    "study_names",
    "zoo_figures",
]
