"""HTTPS with the certificate of our own: names, trust, keeping it, and what the request says about it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from front_support import run

from preheat.kernel.http import HttpRequest, HttpResponse
from preheat.net import tls
from preheat.net.http import HttpServer, Respond


def tells(request: HttpRequest, respond: Respond) -> None:
    respond(HttpResponse(200, [], b"%d %d" % (request.tls, len(request.body))))


async def ask(port: int, name: str, trusted: Path | None) -> bytes:
    context = ssl.create_default_context(cafile=trusted)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    try:
        writer.write(
            b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000
        )
        return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "127.0.0.1",
        "abc.execute-api.localhost",
        "abc.execute-api.us-east-1.localhost",
        "abc.lambda-url.us-east-1.localhost",
    ],
)
def test_a_client_that_trusts_the_certificate_is_served(tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        server = HttpServer(tells)
        port = await server.listen("127.0.0.1", 0, tls.context(tmp_path, "127.0.0.1", "us-east-1"))
        try:
            answer = await ask(port, name, tmp_path / "certificate.pem")
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b"1 100000")
        finally:
            server.close()

    run(scenario())


def test_a_client_that_does_not_trust_it_refuses(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = HttpServer(tells)
        port = await server.listen("127.0.0.1", 0, tls.context(tmp_path, "127.0.0.1", "us-east-1"))
        try:
            with pytest.raises(ssl.SSLCertVerificationError):
                await ask(port, "localhost", None)
            with pytest.raises(ssl.SSLCertVerificationError):
                await ask(port, "example.com", tmp_path / "certificate.pem")
        finally:
            server.close()

    run(scenario())


def test_the_certificate_is_kept_until_its_names_change(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    tls.context(tmp_path, "127.0.0.1", "us-east-1")
    first = certificate.read_bytes()
    assert key.stat().st_mode & 0o777 == 0o600
    tls.context(tmp_path, "127.0.0.1", "us-east-1")
    assert certificate.read_bytes() == first
    tls.context(tmp_path, "10.0.0.5", "eu-west-1")
    second = certificate.read_bytes()
    assert second != first
    certificate.write_bytes(b"damaged")
    tls.context(tmp_path, "10.0.0.5", "eu-west-1")
    assert certificate.read_bytes() not in (first, b"damaged")
