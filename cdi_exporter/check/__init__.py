"""`check`: whether each key works, what it may read, and how many requests watching takes."""

from cdi_exporter.check.checking import check
from cdi_exporter.check.report import Report
from cdi_exporter.check.text import show

__all__ = ["Report", "check", "show"]
