"""TLS, users, headers and rate limit out of `--web.config.file`.

The format and its meaning are those of Prometheus' exporter-toolkit; where this differs on
purpose, `docs/web-config.md` says so. `sections` has its keys, `policy` what one file asks for;
`guard` keeps the policy that is in force and applies it to each request.
"""

from cdi_exporter.web.security.guard import Guard, Security
from cdi_exporter.web.security.tls import ServerContext

__all__ = ("Guard", "Security", "ServerContext")
