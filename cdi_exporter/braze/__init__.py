"""Braze's CDI API: its JSON, its rate limits, its two endpoints."""
