"""What a search found and a bundle holds, as tables, plots and one page."""

from nas.report.page import write_report as write_report
from nas.report.tables import Table as Table

__all__ = ["Table", "write_report"]
