"""The PostgreSQL fixtures for the tests of this folder."""

from tests.postgres_server import database, postgres_server

__all__ = ("database", "postgres_server")
