"""A real mail server on loopback, which keeps what it is handed and refuses what a test says."""

import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import cast


@dataclass(kw_only=True)
class MailServer:
    """What the server does, and what came in; ``tls`` begins with TLS, ``context`` offers it."""

    context: ssl.SSLContext | None = None
    tls: bool = False
    login: tuple[str, str] | None = None
    refused: set[str] = field(default_factory=set)
    busy: bool = False
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)


class _Session(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = cast("_Listener", self.server).told
        self.mailbox = server
        self.is_encrypted = False
        self.is_known = server.login is None
        self.to: list[str] = []
        try:
            if server.tls:
                self._encrypt()
            self._say("421 too busy" if server.busy else "220 test ESMTP")
            if not server.busy:
                while self._answer(self.rfile.readline().decode().strip()):
                    pass
        except (OSError, ValueError):
            return
        finally:
            self.connection.close()

    def _say(self, *lines: str) -> None:
        for number, line in enumerate(lines):
            mark = " " if number == len(lines) - 1 else "-"
            self.wfile.write(f"{line[:3]}{mark}{line[4:]}\r\n".encode())

    def _encrypt(self) -> None:
        assert self.mailbox.context is not None
        self.connection = self.mailbox.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.is_encrypted = True

    def _answer(self, line: str) -> bool:
        verb, _, rest = line.partition(" ")
        answer = getattr(self, f"_{verb.lower()}", None)
        if answer is None:
            self._say("250 fine")
        else:
            answer(rest)
        return verb.upper() not in {"", "QUIT"}

    def _ehlo(self, _rest: str) -> None:
        offers = ["250 test"]
        if self.mailbox.context is not None and not self.is_encrypted:
            offers.append("250 STARTTLS")
        if self.mailbox.login is not None:
            offers.append("250 AUTH PLAIN")
        self._say(*offers)

    def _starttls(self, _rest: str) -> None:
        self._say("220 go ahead")
        self._encrypt()

    def _auth(self, rest: str) -> None:
        _, user, password = b64decode(rest.split(" ")[1]).decode().split("\0")
        self.is_known = (user, password) == self.mailbox.login
        self._say("235 welcome" if self.is_known else "535 who are you")

    def _mail(self, _rest: str) -> None:
        self._say("250 fine" if self.is_known else "530 log in first")

    def _rcpt(self, rest: str) -> None:
        address = rest.partition("<")[2].partition(">")[0]
        if address in self.mailbox.refused:
            self._say("550 no such user")
        else:
            self.to.append(address)
            self._say("250 fine")

    def _data(self, _rest: str) -> None:
        self._say("354 go on")
        self._take()
        self._say("250 taken")

    def _quit(self, _rest: str) -> None:
        self._say("221 bye")

    def _take(self) -> None:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.removeprefix(b"."))
        message = message_from_bytes(b"".join(lines), policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mailbox.mails.append(message)
        self.mailbox.recipients.append(self.to)
        self.mailbox.encrypted.append(self.is_encrypted)


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    told: MailServer


@contextmanager
def mail_server(told: MailServer) -> Iterator[MailServer]:
    """Serve on a free port of loopback, which is noted in what was told."""
    with _Listener(("127.0.0.1", 0), _Session) as listener:
        listener.told = told
        told.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield told
        listener.shutdown()
        thread.join()
