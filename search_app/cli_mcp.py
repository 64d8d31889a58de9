"""``search-app mcp``: the same search and answers, for programs that speak MCP."""

from typing import Annotated

import typer

from search_app.config import Settings, load_settings
from search_app.console import wait_for
from search_app.errors import ConfigurationError
from search_app.types import JSON

PORT = 8021
"""Where it listens over HTTP unless told otherwise, beside the web server."""


def mcp(
    *,
    http: Annotated[
        bool,
        typer.Option("--http", help="Over HTTP at /mcp, instead of standard input and output."),
    ] = False,
    host: Annotated[
        str, typer.Option(help="Address to listen on with --http; loopback if unset.")
    ] = "",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port with --http; 0 takes any that is free.")
    ] = PORT,
) -> None:
    """Let programs that speak MCP search, ask and read documents, over standard input or HTTP.

    Once there are keys, UNMOVED_API_KEY is the one that is used over standard input; over HTTP,
    every request carries one.
    """
    overrides: dict[str, JSON] = {"host": host} if host else {}
    settings = load_settings(**overrides, port=port) if http else load_settings()
    wait_for(_serve_http(settings) if http else _serve_stdio(settings), settings)


async def _serve_stdio(settings: Settings) -> None:
    try:
        from search_app.mcp.local import serve_stdio
    except ModuleNotFoundError as exc:
        raise _missing(exc) from exc
    await serve_stdio(settings)


async def _serve_http(settings: Settings) -> None:
    try:
        from search_app.mcp.remote import serve_http
    except ModuleNotFoundError as exc:
        raise _missing(exc) from exc
    await serve_http(settings, lambda address: typer.echo(_announcement(address)))


def _announcement(address: str) -> str:
    return f"Unmoved speaks MCP at {address}/mcp (Ctrl-C stops it)"


def _missing(error: ModuleNotFoundError) -> ConfigurationError:
    return ConfigurationError(
        f"search-app mcp needs the package {error.name}; run: pip install 'unmoved[mcp]'"
    )
