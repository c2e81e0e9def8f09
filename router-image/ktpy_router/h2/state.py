"""A client connection and its upstream connections as one machine without sockets: bytes in, bytes to write out."""

from __future__ import annotations

from ktpy_router.h2 import flow, frames, rescue
from ktpy_router.h2.connection import Connection
from ktpy_router.h2.flow import CLIENT_WINDOW, LINK_WINDOW
from ktpy_router.h2.frames import LARGEST_WINDOW, Code, ConnectionFault
from ktpy_router.h2.link import Link
from ktpy_router.h2.stream import Stream
from ktpy_router.upstream import Upstream

CLIENT_GRANT = CLIENT_WINDOW // 4
LINK_GRANT = LINK_WINDOW // 2


class Relay(Connection):
    """What happens, as calls. After each of them `to_client` and every link's `out` are to be written, and with
    `ended` the client's connection is to be closed.
    """

    def client_received(self, data: bytes) -> None:
        """Bytes of the client. A fault of its ends the connection with GOAWAY (section 5.4.1)."""
        if self.ended:
            return
        try:
            self.client.received(data)
        except ConnectionFault as fault:
            self.end(fault.code, str(fault))
        self.settle()

    def connected(self, link: Link) -> None:
        link.connected()
        self.launch_queued(link)
        self.settle()

    def link_received(self, link: Link, data: bytes) -> None:
        """Bytes of an upstream. A fault of its ends its own connection only."""
        if link.gone:
            return
        try:
            link.received(data)
        except ConnectionFault as fault:
            link.out.append(frames.goaway(0, fault.code, str(fault)))
            rescue.lost(self, link, str(fault), broken=True)
        self.settle()

    def dial_failed(self, link: Link, reason: str) -> None:
        """REASON ends a sentence that begins with the upstream's name."""
        rescue.dial_failed(self, link, reason)
        self.settle()

    def lost(self, link: Link, reason: str) -> None:
        """The upstream closed the connection."""
        rescue.lost(self, link, reason)
        self.settle()

    def silent(self, upstream: Upstream, since: float) -> None:
        """The laptop behind UPSTREAM sleeps, and what was sent after SINCE has not reached it."""
        rescue.silent(self, upstream, since)
        self.settle()

    def congested(self, link: Link, *, now: bool) -> None:
        """Whether the link takes what we write. While it does not, the client gets no more credit for it."""
        link.congested = now
        if not now:
            self.credit += link.parked
            link.parked = 0
            for stream in tuple(self.streams.values()):
                if stream.link is link and stream.owed > 0 and self.is_launched(stream):
                    flow.grant(self, stream)
        self.settle()

    def released(self, stream: Stream, *, is_back: bool) -> None:
        """The wait of a row that holds is over."""
        rescue.released(self, stream, is_back=is_back)
        self.settle()

    def settle(self) -> None:
        """After each turn: give credit back, let waiting streams go, close what is done."""
        if self.credit >= CLIENT_GRANT:
            self.to_client.append(frames.window_update(0, self.credit))
            self.receive_window += self.credit
            self.credit = 0
        for link in self.all_links if len(self.all_links) == 1 else tuple(self.all_links):
            if link.queue and link.up:
                self.launch_queued(link)
            if link.credit >= LINK_GRANT:
                link.settle()
            if link.retired and not link.open and not link.queue:
                rescue.hang_up(self, link)
        if not self.streams and (self.client_leaves or self.last_taken < LARGEST_WINDOW):
            self.ended = True

    def end(self, code: Code, reason: str = "") -> None:
        """GOAWAY, and the client's connection is over."""
        self.to_client.append(frames.goaway(self.client.last, code, reason))
        self.ended = True

    def drain(self) -> None:
        """Streams that are on their way are still taken; a second later (`tick`) the last one is named."""
        if not self.draining:
            self.draining = True
            self.goaway_at = self.now + 1
            self.to_client.append(frames.goaway(LARGEST_WINDOW, Code.NO_ERROR, "the router goes"))

    def tick(self) -> None:
        """Once a second: what took too long."""
        self.settings.acknowledge()
        client, config = self.client, self.config
        if not client.heard_settings and self.now - self.began > config.head_seconds:
            self.end(Code.SETTINGS_TIMEOUT, "no SETTINGS")
        elif client.block_since and self.now - client.block_since > config.head_seconds:
            self.end(Code.ENHANCE_YOUR_CALM, "a header block took too long")
        elif not self.streams and self.now - self.idle_since > config.idle_seconds:
            self.end(Code.NO_ERROR, "idle")
        if self.draining and self.last_taken == LARGEST_WINDOW and self.now >= self.goaway_at:
            self.last_taken = self.client.last
            self.to_client.append(frames.goaway(self.last_taken, Code.NO_ERROR, "the router goes"))
        for link in tuple(self.all_links):
            if link.up and not link.open and not link.queue and self.now - link.idle_since > self.config.pool_seconds:
                rescue.retire(self, link)
        self.settle()

    def client_lost(self) -> None:
        """Its streams are cancelled; the links are to be closed."""
        for stream in tuple(self.streams.values()):
            self.client_reset(stream, Code.CANCEL)
        for link in tuple(self.all_links):
            rescue.hang_up(self, link)
