"""What the file asks for, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cdi_exporter.config.secret import Secret
from cdi_exporter.web.security.tls import ServerContext


@dataclass(frozen=True, slots=True)
class Rate:
    """One request per `interval` seconds, `burst` of them at once; 0 seconds: no limit."""

    interval: float = 0.0
    burst: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """How requests are taken. `users` are bcrypt hashes by name; none means that all may."""

    tls: ServerContext | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()
    users: Mapping[bytes, Secret] = field(default_factory=dict)
    rate: Rate = field(default_factory=Rate)
