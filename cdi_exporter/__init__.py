"""A Prometheus exporter for the sync runs of Braze Cloud Data Ingestion."""

__version__ = "0.1.0"
