"""Figures and tables of the study: functions from tidy tables and arrays to `StudyFigure` or `HtmlTable`.

Nothing here reads or writes a file or computes a test. Every function names the data set on what it returns, and says
in words what is missing; what it returns shows itself as the last expression of a notebook cell. The look is in
`style`, the figure object in `canvas`, the placing of pictures in `sheets`.
"""

from .amount_curves import amount_curves
from .amount_table import amount_table
from .arm_differences import arm_differences
from .bars import clean_bars, corruption_bars
from .breakdowns import class_balance, structure_dice
from .calibration import calibration_curves
from .canvas import StudyFigure
from .column_words import COLUMN_WORDS
from .comparison_tables import comparison_table
from .comparisons import forest_plot
from .corrupted_images import corruption_examples, severity_strip
from .curves import pretext_accuracy, training_curves
from .downloads import link_row
from .explored import explored_slices, explored_xrays
from .further_tables import effect_table, further_table
from .images import ct_sheet, overlay, window_hu, xray_sheet
from .leaks import leak_bars, leak_table
from .method import method_figure
from .panels import SlicePanels, XRayPanels
from .points import PAIR_WORDS, pair_scatter
from .power_curves import power_curves
from .puzzles import Puzzle, jigsaw_examples, reassemble
from .qualitative import Case, segmentation_cases
from .qualitative_xrays import XRayCase, xray_cases
from .result_tables import counted, in_words, interval_text, mean_std, paper_table, signed
from .robustness import confusion_table, corruption_error_table, drop_table, metric_table, structure_table
from .severities import severity_curves
from .study_tables import best_epochs, note_clauses, severity_table, transfer_table
from .style import (
    arm_styles,
    corruption_title,
    corruption_word,
    format_p,
    metric_title,
    order_arms,
    order_corruptions,
    paper_label,
    structure_colours,
    structure_title,
)
from .subgroups import subgroup_differences, subgroup_parts, subgroup_table
from .tables import P_FORMATS, HtmlTable, html_table
from .tidy import score_rows
from .verdict_tables import VERDICT_TONES, verdict_table

__all__ = [
    "COLUMN_WORDS",
    "PAIR_WORDS",
    "P_FORMATS",
    "VERDICT_TONES",
    "Case",
    "HtmlTable",
    "Puzzle",
    "SlicePanels",
    "StudyFigure",
    "XRayCase",
    "XRayPanels",
    "amount_curves",
    "amount_table",
    "arm_differences",
    "arm_styles",
    "best_epochs",
    "calibration_curves",
    "class_balance",
    "clean_bars",
    "comparison_table",
    "confusion_table",
    "corruption_bars",
    "corruption_error_table",
    "corruption_examples",
    "corruption_title",
    "corruption_word",
    "counted",
    "ct_sheet",
    "drop_table",
    "effect_table",
    "explored_slices",
    "explored_xrays",
    "forest_plot",
    "format_p",
    "further_table",
    "html_table",
    "in_words",
    "interval_text",
    "jigsaw_examples",
    "leak_bars",
    "leak_table",
    "link_row",
    "mean_std",
    "method_figure",
    "metric_table",
    "metric_title",
    "note_clauses",
    "order_arms",
    "order_corruptions",
    "overlay",
    "pair_scatter",
    "paper_label",
    "paper_table",
    "power_curves",
    "pretext_accuracy",
    "reassemble",
    "score_rows",
    "segmentation_cases",
    "severity_curves",
    "severity_strip",
    "severity_table",
    "signed",
    "structure_colours",
    "structure_dice",
    "structure_table",
    "structure_title",
    "subgroup_differences",
    "subgroup_parts",
    "subgroup_table",
    "training_curves",
    "transfer_table",
    "verdict_table",
    "window_hu",
    "xray_cases",
    "xray_sheet",
]
