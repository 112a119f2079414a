"""TLS, users, headers and rate limit out of `--web.config.file`.

The format and its meaning are those of Prometheus' exporter-toolkit; where this differs on
purpose, `docs/web-config.md` says so. `load` reads the file into a `Policy`; `watch` keeps
the policy that is in force and reads it anew when a file has changed; `guard` stands before
the application and applies it to each request.
"""

from cdi_exporter.web.security.guard import Guard
from cdi_exporter.web.security.tls import ServerContext
from cdi_exporter.web.security.watch import Security

__all__ = ("Guard", "Security", "ServerContext")
