"""Figures and tables of the study: functions from tidy tables and arrays to `StudyFigure` or `HtmlTable`.

Nothing here reads or writes a file or computes a test. Every function names the data set on what it returns, and says
in words what is missing; what it returns shows itself as the last expression of a notebook cell. The look is in
`style`, the figure object in `canvas`, the placing of pictures in `sheets`.
"""

from .bars import clean_bars, corruption_bars
from .breakdowns import class_balance, structure_dice
from .canvas import StudyFigure
from .comparisons import forest_plot
from .corrupted_images import corruption_examples, severity_strip
from .curves import pretext_accuracy, training_curves
from .images import ct_sheet, overlay, window_hu, xray_sheet
from .method import method_figure
from .puzzles import Puzzle, jigsaw_examples, reassemble
from .qualitative import Case, segmentation_cases
from .severities import calibration_curves, severity_curves
from .style import (
    arm_styles,
    corruption_title,
    format_p,
    order_arms,
    order_corruptions,
    paper_label,
    structure_colours,
    structure_title,
)
from .tables import (
    P_FORMATS,
    VERDICT_TONES,
    HtmlTable,
    html_table,
    mean_std,
    paper_beside_ours,
    paper_table,
    verdict_table,
)
from .tidy import score_rows

__all__ = [
    "P_FORMATS",
    "VERDICT_TONES",
    "Case",
    "HtmlTable",
    "Puzzle",
    "StudyFigure",
    "arm_styles",
    "calibration_curves",
    "class_balance",
    "clean_bars",
    "corruption_bars",
    "corruption_examples",
    "corruption_title",
    "ct_sheet",
    "forest_plot",
    "format_p",
    "html_table",
    "jigsaw_examples",
    "mean_std",
    "method_figure",
    "order_arms",
    "order_corruptions",
    "overlay",
    "paper_beside_ours",
    "paper_label",
    "paper_table",
    "pretext_accuracy",
    "reassemble",
    "score_rows",
    "segmentation_cases",
    "severity_curves",
    "severity_strip",
    "structure_colours",
    "structure_dice",
    "structure_title",
    "training_curves",
    "verdict_table",
    "window_hu",
    "xray_sheet",
]
