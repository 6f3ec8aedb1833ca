"""What a search found and a bundle holds, as tables, plots and one page."""

from nas.report.exit_page import write_exit_report as write_exit_report
from nas.report.exits import ExitReport as ExitReport
from nas.report.exits import budget_table as budget_table
from nas.report.exits import evaluate_exits as evaluate_exits
from nas.report.exits import exit_report_table as exit_report_table
from nas.report.page import write_report as write_report
from nas.report.tables import Table as Table

__all__ = [
    "ExitReport",
    "Table",
    "budget_table",
    "evaluate_exits",
    "exit_report_table",
    "write_exit_report",
    "write_report",
]
