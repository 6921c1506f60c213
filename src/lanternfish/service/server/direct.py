"""Bodies of great uploads read from their socket by threads, past the event loop.

The event loop hands a body over in pieces of some 100 kB, each with several copies and wake-ups,
which takes most of the time of an upload. A request may instead take its connection over: the loop
stops reading it, what it has read already comes first, and the rest is received into the same few
buffers. The connection ends with the answer, as the HTTP parser has not seen the body's end.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

KEY = "lanternfish.connection"  # in a request's scope
SILENCE = 90.0  # seconds after which a client that sends nothing has gone
_LOOK = 0.5  # seconds between looks at whether the server stops


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which lets a request have its connection."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            self.scope[KEY] = Connection(self, self.cycle)  # type: ignore[typeddict-unknown-key]


@dataclass(frozen=True)
class Connection:
    """The connection of one request, as long as the event loop reads it."""

    protocol: Any
    cycle: Any

    def take(self) -> tuple[bytes, socket.socket] | None:
        """What was read and not received yet, and the socket for all that comes after it.

        None where the connection cannot be had: it is encrypted, closing, or has come to its end.
        Call it in the event loop, without waiting between the last receive and this.
        """
        transport = self.protocol.transport
        if transport.is_closing() or transport.get_extra_info("sslcontext") is not None:
            return None
        found = transport.get_extra_info("socket")
        if found is None or self.cycle.disconnected or not self.cycle.more_body:
            return None
        self.protocol.flow.pause_reading()
        self.cycle.keep_alive = False
        read, self.cycle.body = bytes(self.cycle.body), bytearray()
        return read, socket.socket(fileno=os.dup(found.fileno()))


class Source:
    """Blocks of a body, `left` bytes of it, out of a socket that does not block."""

    def __init__(self, connection: socket.socket, left: int):
        self.connection, self.left = connection, left
        self.stopped = threading.Event()
        self._waiting = select.poll()
        self._waiting.register(connection, select.POLLIN)

    def fill(self, view: memoryview) -> int:
        """Receive into `view` until it is full or the body ends; returns the count of bytes.

        A client that went away leaves a block that is not full; the next call raises.

        Raises:
            ClientDisconnect: nothing came before the client went away.
        """
        wanted, got = min(len(view), self.left), 0
        while got < wanted:
            count = self._some(view[got:wanted])
            if not count:
                break
            got += count
        self.left -= got
        if wanted and not got:
            raise ClientDisconnect
        return got

    def _some(self, view: memoryview) -> int:
        until = time.monotonic() + SILENCE
        while not self.stopped.is_set():
            try:
                return self.connection.recv_into(view)
            except BlockingIOError:
                if not self._waiting.poll(1000 * _LOOK) and time.monotonic() > until:
                    return 0
            except OSError:  # reset
                return 0
        return 0

    def close(self) -> None:
        self.connection.close()
