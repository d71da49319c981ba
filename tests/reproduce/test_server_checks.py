"""The server of a training is asked once before anything starts."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from reproduce.core.files import UserError
from reproduce.training.server_checks import check_server


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_server_that_answers_passes_and_another_page_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server = HTTPServer(("127.0.0.1", 0), Health)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        check_server(address)
        check_server(f"{address}/")
        with pytest.raises(UserError, match="answers with 404"):
            check_server(f"{address}/elsewhere")
    finally:
        server.shutdown()
        server.server_close()


def test_a_closed_port_and_a_bad_address_are_refused_in_one_line() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"http://127.0.0.1:{port}", "http://", "http://127.0.0.1:port"):
        with pytest.raises(UserError, match="no vLLM server answers there") as caught:
            check_server(address)
        assert address in str(caught.value) and "\n" not in str(caught.value)
