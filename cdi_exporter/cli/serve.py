"""`serve`: run the exporter."""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import click

from cdi_exporter import logs
from cdi_exporter.app import Exporter, ServeOptions, serve, system_clock
from cdi_exporter.cli.flags import CONFIG_FILE, log_flags, options, web_flags
from cdi_exporter.config import Settings, from_environment, load_file


@click.command("serve")
@CONFIG_FILE
@web_flags
@log_flags
def command(config_file: str | None, **flags: Any) -> None:
    """Run the exporter."""
    logs.configure(flags["log_level"], flags["log_format"])
    asyncio.run(_serve(lambda: load_settings(config_file), options(flags)))


async def _serve(load: Callable[[], Settings], opts: ServeOptions) -> None:
    await serve(Exporter(load(), system_clock(), load=load), opts)


def load_settings(config_file: str | None) -> Settings:
    """The configuration from its file, or from the environment where none is named."""
    return load_file(config_file, os.environ) if config_file else from_environment(os.environ)
