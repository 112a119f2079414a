"""A real Alertmanager with the example configuration and test receivers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.processes import free_port, program, running, serves
from tests.rules.scenarios import minute
from tools.rules import ROOT

CONFIGURATION = ROOT / "prometheus" / "alertmanager.yml"
Message = dict[str, Any]


def configuration() -> dict[str, Any]:
    """The example configuration, parsed."""
    parsed: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text("utf-8"))
    return parsed


@dataclass
class Inbox:
    """An HTTP server that serves one page and stores the requests posted to it."""

    url: str = ""
    page: bytes = b""
    posted: dict[str, list[Message]] = field(default_factory=dict)

    def notifications(self) -> list[tuple[str, str, list[str]]]:
        """The webhook's notifications: status, alert and its integrations or workspaces."""
        return [
            (
                message["status"],
                message["groupLabels"]["alertname"],
                sorted(
                    alert["labels"].get("integration_name", alert["labels"].get("workspace", ""))
                    for alert in message["alerts"]
                ),
            )
            for message in self.posted.get("/webhook", [])
        ]


@contextmanager
def inbox() -> Iterator[Inbox]:
    """An inbox that listens on a loopback port."""
    box = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(box.page)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            box.posted.setdefault(self.path, []).append(json.loads(body))
            self._answer(b"ok")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- its name there
            """Do not log requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        box.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.1,))
        thread.start()
        try:
            yield box
        finally:
            server.shutdown()
            thread.join()


def _hastened(route: dict[str, Any], per_minute: int) -> None:
    waited = route.get("group_wait", "")
    wait = f"{minute(waited) * per_minute}ms" if waited.endswith("m") else "1s"
    route |= {"group_wait": wait, "group_interval": "1s"}
    for child in route.get("routes", []):
        _hastened(child, per_minute)


@contextmanager
def alertmanager(box: Inbox, folder: Path, per_minute: int = 10) -> Iterator[str]:
    """Run the example configuration with short waits, sending mail and chat to the inbox.

    `per_minute` is the number of milliseconds that represent a minute.
    """
    example = configuration()
    example["global"] = {"slack_api_url": f"{box.url}/chat"}
    example["templates"] = [str(CONFIGURATION.parent / path) for path in example["templates"]]
    _hastened(example["route"], per_minute)
    for receiver in example["receivers"]:
        if mails := receiver.pop("email_configs", None):
            resolved = mails[0]["send_resolved"]
            receiver["webhook_configs"] = [{"url": f"{box.url}/webhook", "send_resolved": resolved}]
    file = folder / "alertmanager.yml"
    file.write_text(yaml.safe_dump(example), "utf-8")
    port = free_port()
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={file}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with running(command, folder / "alertmanager.log"):
        serves(f"http://127.0.0.1:{port}/-/ready")
        yield f"http://127.0.0.1:{port}"
