"""A real PostgreSQL server for the tests of this directory."""

from tests.postgres_server import database, postgres_server

__all__ = ("database", "postgres_server")
