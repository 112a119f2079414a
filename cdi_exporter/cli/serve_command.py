"""`serve`: run the exporter."""

import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import click
import structlog

from cdi_exporter import __version__, allocator, logs
from cdi_exporter.app import Exporter, serve
from cdi_exporter.cli import VERSION, cli
from cdi_exporter.cli.flags import CONFIG_FILE, LOG_FLAGS, STATE_FLAGS, WEB_FLAGS, Flags, options
from cdi_exporter.clock import Clock, system_clock
from cdi_exporter.config import Settings, from_environment, load_file
from cdi_exporter.config.clusters import rest_endpoint_for
from cdi_exporter.config.environment import PREFIXES, VARIABLES, misspelt
from cdi_exporter.errors import ConfigError, StartError
from cdi_exporter.state import Journal, SharedJournal, SqliteJournal, StateError, Store
from cdi_exporter.state.postgres import PostgresStore
from cdi_exporter.state.postgres_url import place
from cdi_exporter.threads import in_thread, run_loop
from cdi_exporter.web.security.guard import Security

log = structlog.get_logger()


@click.command("serve", cls=Flags, params=[CONFIG_FILE, *STATE_FLAGS, *WEB_FLAGS, *LOG_FLAGS])
@click.version_option(__version__, message=VERSION)
def command(config_file: str | None, **flags: Any) -> None:
    """Run the exporter."""
    allocator.return_large_buffers()
    logs.configure(flags["log_level"], flags["log_format"])
    warn_of_variables(config_file)
    run_loop(_serve(config_file, flags))


async def _serve(config_file: str | None, flags: Mapping[str, Any]) -> None:
    def load() -> Settings:
        return load_settings(config_file)

    def started() -> None:
        log.info(
            "exporter started",
            version=__version__,
            workspaces=len(exporter.workspaces),
            config=config_file or "environment",
            state=_state(flags),
            url=opts.listen[0].url(tls=exporter.serves_tls),
            next="Braze is asked at the first scrape; `cdi-exporter check` asks now",
        )

    clock, opts = system_clock(), options(flags)
    settings = await in_thread(lambda: _settings(load, opts.web_config, clock))
    warn_of_endpoints(settings)
    exporter = await open_exporter(settings, flags, clock, load=lambda: in_thread(load))
    await serve(exporter, opts, started)


async def open_exporter(
    settings: Settings,
    flags: Mapping[str, Any],
    clock: Clock,
    *,
    load: Callable[[], Awaitable[Settings]] | None = None,
    process_metrics: bool = True,
) -> Exporter:
    """The exporter with the state that the flags name; raises StartError if that is unusable."""
    file, url = flags["state_file"], flags["state_url"]
    journal = Journal()
    if file:
        journal = SqliteJournal(await in_thread(lambda: Store(file, clock.wall)), clock)
    elif url:
        # No other exporter has this name, not even the same one after a restart.
        name = f"{socket.gethostname()}/{secrets.token_hex(4)}"
        journal = SharedJournal(place(url), partial(PostgresStore, url, name), clock)
    try:
        return Exporter(
            settings, clock, load=load, journal=journal, process_metrics=process_metrics
        )
    except StateError as error:
        message = f"cannot use the state file {_state(flags)}: {error}"
        raise StartError(message) from error


def _state(flags: Mapping[str, Any]) -> str:
    """Where the state is kept, for messages and the log."""
    file, url = flags["state_file"], flags["state_url"]
    return file or (f"PostgreSQL, {place(url)}" if url else "memory")


def _settings(load: Callable[[], Settings], web_config: str | None, clock: Clock) -> Settings:
    """The configuration; if it is wrong, errors of the web configuration are reported as well."""
    try:
        return load()
    except ConfigError as error:
        mistakes = [*error.mistakes]
        try:
            if web_config:
                Security(web_config, clock.wall, clock.monotonic)
        except ConfigError as another:
            mistakes += another.mistakes
        raise ConfigError(mistakes) from error


def warn_of_variables(config_file: str | None) -> None:
    """Log unknown environment variables that resemble a known one."""
    if not any(name.startswith(PREFIXES) for name in os.environ):
        return
    options = [param for each in cli.every_command().values() for param in each.params]
    known = {str(option.envvar) for option in options if option.envvar}
    # With a file the variables of the quick start are not read, and a key may have any name.
    known |= set() if config_file else VARIABLES.keys()
    for name, likely in misspelt(os.environ, known).items():
        log.warning("unknown environment variable", variable=name, did_you_mean=likely)


def warn_of_endpoints(settings: Settings) -> None:
    """Log each endpoint that is known to be a dashboard or SDK address."""
    for workspace in settings.workspaces:
        if right := rest_endpoint_for(workspace.endpoint):
            host = workspace.endpoint.partition("://")[2]
            problem = f"{host} is not a REST endpoint; that of its cluster is {right}"
            log.warning("wrong endpoint configured", workspace=workspace.name, problem=problem)


def load_settings(config_file: str | None) -> Settings:
    """The configuration from its file, or from the environment if there is none."""
    return load_file(config_file, os.environ) if config_file else from_environment(os.environ)
