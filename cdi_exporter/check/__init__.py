"""`check`: whether each workspace's key works, what it may read, and what watching it takes."""

from cdi_exporter.check.job import Options, check
from cdi_exporter.check.report import REPORT, Report
from cdi_exporter.check.text import show

__all__ = ["REPORT", "Options", "Report", "check", "show"]
