"""The server that the tests of this folder share."""

from tests.postgres_server import database, postgres_server

__all__ = ("database", "postgres_server")
