"""Moves all bytes of an open SSH session in one event loop: streams, windows, new keys, keep-alive (RFC 4253, 4254)."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ktpy.errors import TunnelLost
from ktpy.net import messages as m
from ktpy.net.channel import BIGGEST_DATA, FIRST_WINDOW, Channel
from ktpy.net.cipher import message
from ktpy.net.handshake import Session
from ktpy.net.pulse import Pulse
from ktpy.net.sending import USUAL, Limits, Sending

log = logging.getLogger(__name__)

# All streams together may let this much more come than their first windows.
WINDOW_BUDGET = 256 * 1024 * 1024
# So many of the things that the pod asks for are logged: it may ask for ever.
ASKED_LOGGED = 5


@dataclass(frozen=True)
class Opening:
    """RFC 4254 §7.2 forwarded-tcpip: somebody (ORIGIN) connected to a port that we asked the pod to listen on."""

    theirs: int
    window: int
    biggest: int
    port: int
    origin: str
    origin_port: int


class Pump(Sending):
    """Resources: whoever makes it calls stop(). Errors: ON_LOST gets the one TunnelLost that ended it."""

    def __init__(
        self,
        transport: asyncio.Transport,
        session: Session,
        *,
        on_opening: Callable[[Pump, Opening], None],
        on_lost: Callable[[TunnelLost], None],
        limits: Limits = USUAL,
    ) -> None:
        super().__init__(transport, session, limits)
        self._opener = session.opener
        self._on_opening, self._on_lost = on_opening, on_lost
        self._channels: dict[int, Channel] = {}
        self._opened: dict[int, asyncio.Future[Channel]] = {}
        self._last_number = -1
        self._requests: deque[asyncio.Future[bool] | None] = deque()
        self._heard = 0
        self._asked_count = 0
        self._granted = 0
        self._pulse = Pulse(limits.keepalive, misses=limits.misses)
        self._timer = self._loop.call_later(limits.keepalive, self._tick)

    # the wire's side

    def data_received(self, data: bytes | bytearray | memoryview) -> None:
        """Every message that is complete with DATA; nonsense ends the session."""
        self._heard += len(data)
        try:
            for plain in self._opener.feed(data):
                if plain[1] == m.CHANNEL_DATA:
                    size = int.from_bytes(plain[6:10], "big")
                    if 10 + size + plain[0] != len(plain):
                        raise TunnelLost("nonsense from the shadow pod's sshd: a data message of the wrong size")
                    self._channel(int.from_bytes(plain[2:6], "big")).take_data(memoryview(plain)[10 : 10 + size])
                else:
                    self._dispatch(message(plain))
                if self.why is not None:
                    return
            if self._opener.bytes_seen > self._limits.rekey_bytes:
                self.begin_rekey()
            self.check()
        except TunnelLost as error:
            self.stop(error)

    def stop(self, why: TunnelLost, *, says: str = "") -> None:
        """End the session and all its streams; a polite DISCONNECT when it SAYS something."""
        if self.why is not None:
            return
        self._timer.cancel()
        if says:
            self.say_last(says)
        else:
            self._transport.abort()
        self.why = why
        for opened in self._opened.values():
            _fail(opened, why)
        for request in self._requests:
            _fail(request, why)
        self._opened.clear()
        self._requests.clear()
        for channel in list(self._channels.values()):
            channel.lost(why)
        self._on_lost(why)

    # what the tunnel asks for

    async def listen(self, address: str, port: int) -> bool:
        """Have the pod listen on PORT; false if sshd refuses (not permitted, or somebody holds the port)."""
        return await self._request(m.tcpip_forward(address, port))

    async def open(self, host: str, port: int, protocol: asyncio.Protocol) -> Channel:
        """A stream from the pod to HOST:PORT. Errors: TunnelLost, or ConnectionRefusedError with sshd's reason."""
        if self.why is not None:
            raise self.why
        channel = self._new_channel(protocol)
        future: asyncio.Future[Channel] = self._loop.create_future()
        self._opened[channel.ours] = future
        self.send(m.open_direct(channel.ours, FIRST_WINDOW, BIGGEST_DATA, host=host, port=port))
        return await future

    def accept(self, opening: Opening, protocol: asyncio.Protocol) -> Channel:
        channel = self._new_channel(protocol)
        self.send(m.confirm(opening.theirs, channel.ours, FIRST_WINDOW, BIGGEST_DATA))
        channel.opened(opening.theirs, opening.window, opening.biggest)
        return channel

    def refuse(self, opening: Opening, why: str) -> None:
        self.send(m.refuse(opening.theirs, m.CONNECT_FAILED, why))

    # what a channel asks for: channel.Mux; the rest of it is Sending's

    def forget(self, channel: Channel) -> None:
        self._channels.pop(channel.ours, None)
        self._stuck.pop(channel.ours, None)

    def grant(self, wanted: int) -> int:
        granted = max(0, min(wanted, WINDOW_BUDGET - self._granted))
        self._granted += granted
        return granted

    def give_back(self, granted: int) -> None:
        self._granted -= granted

    # inside: receiving

    def _exchange(self, payload: bytes) -> None:
        self.exchange(payload)
        fresh = self._rekey.fresh
        if payload[0] == m.NEWKEYS and fresh is not None:
            self._opener.rekey(fresh.key_in, fresh.iv_in)

    def _channel(self, number: int) -> Channel:
        channel = self._channels.get(number)
        if channel is None:
            raise TunnelLost("the shadow pod's sshd wrote to a stream that does not exist")
        return channel

    def _dispatch(self, payload: bytes) -> None:
        kind = payload[0]
        if m.CHANNEL_OPEN_CONFIRMATION <= kind <= m.CHANNEL_FAILURE:
            self._channel_message(kind, payload)
        elif kind == m.CHANNEL_OPEN:
            self._open_message(payload)
        elif kind in (m.REQUEST_SUCCESS, m.REQUEST_FAILURE):
            self._answered(kind == m.REQUEST_SUCCESS)
        elif kind == m.GLOBAL_REQUEST:
            self._asked(payload)
        elif 20 <= kind < 50:
            self._exchange(payload)
        elif kind == m.DISCONNECT:
            fields = m.Fields(payload, 5)
            raise TunnelLost(f"the shadow pod's sshd hung up: {m.printable(fields.word())}")
        elif kind not in (m.IGNORE, m.UNIMPLEMENTED, m.DEBUG, m.EXT_INFO):
            self.send(m.unimplemented(self._opener.packets - 1))

    def _asked(self, payload: bytes) -> None:
        """RFC 4254 §4: we fulfil none (hostkeys-00, keepalive); keepalive only wants to hear anything at all."""
        fields = m.Fields(payload, 1)
        name, wants_answer = fields.word(), fields.boolean()
        self._asked_count += 1
        if self._asked_count <= ASKED_LOGGED:
            log.debug("sshd asked for %r", name[:64])
        if wants_answer:
            self.send(bytes([m.REQUEST_FAILURE]))

    def _answered(self, is_success: bool) -> None:
        """RFC 4254 §4: answers come in the order of the questions."""
        if not self._requests:
            raise TunnelLost("the shadow pod's sshd answered a question that was not asked")
        future = self._requests.popleft()
        if future is not None and not future.done():
            future.set_result(is_success)

    def _open_message(self, payload: bytes) -> None:
        fields = m.Fields(payload, 1)
        kind, theirs, window, biggest = fields.word(), fields.number(), fields.number(), fields.number()
        if kind != "forwarded-tcpip":
            self.send(m.refuse(theirs, m.UNKNOWN_TYPE, "only forwarded-tcpip"))
            return
        fields.blob()  # the address that the pod listens on
        port, origin, origin_port = fields.number(), fields.word(), fields.number()
        if not biggest:
            raise TunnelLost("nonsense from the shadow pod's sshd: a stream that takes no bytes")
        self._on_opening(self, Opening(theirs, window, biggest, port, origin, origin_port))

    def _channel_message(self, kind: int, payload: bytes) -> None:
        fields = m.Fields(payload, 1)
        channel = self._channel(fields.number())
        if channel.theirs < 0 and kind not in (m.CHANNEL_OPEN_CONFIRMATION, m.CHANNEL_OPEN_FAILURE):
            raise TunnelLost("the shadow pod's sshd wrote to a stream that is not open yet")
        match kind:
            case m.CHANNEL_WINDOW_ADJUST:
                channel.take_window(fields.number())
            case m.CHANNEL_EOF:
                channel.take_eof()
            case m.CHANNEL_CLOSE:
                channel.take_close()
            case m.CHANNEL_OPEN_CONFIRMATION:
                self._confirmed(channel, fields)
            case m.CHANNEL_OPEN_FAILURE:
                self._refused(channel, fields)
            case m.CHANNEL_REQUEST:
                self._channel_asked(channel, fields)
            case m.CHANNEL_EXTENDED_DATA:
                raise TunnelLost("nonsense from the shadow pod's sshd: extended data on a TCP stream")

    def _confirmed(self, channel: Channel, fields: m.Fields) -> None:
        future = self._opened.pop(channel.ours, None)
        if future is None:
            raise TunnelLost("the shadow pod's sshd confirmed a stream twice")
        theirs, window, biggest = fields.number(), fields.number(), fields.number()
        if not biggest:
            raise TunnelLost("nonsense from the shadow pod's sshd: a stream that takes no bytes")
        channel.opened(theirs, window, biggest)
        if future.done():
            channel.abort()  # its asker gave up waiting
        else:
            future.set_result(channel)

    def _refused(self, channel: Channel, fields: m.Fields) -> None:
        future = self._opened.pop(channel.ours, None)
        if future is None:
            raise TunnelLost("the shadow pod's sshd refused a stream that is open")
        reason, words = fields.number(), m.printable(fields.word())
        channel.lost(None)
        if not future.done():
            future.set_exception(OpenRefused(reason, words))

    def _channel_asked(self, channel: Channel, fields: m.Fields) -> None:
        """RFC 4254 §5.4. eow@openssh.com: the far socket takes no more, which for TCP means it is broken."""
        name, wants_answer = fields.word(), fields.boolean()
        if wants_answer:
            self.send(m.channel_only(m.CHANNEL_FAILURE, channel.theirs))
        if name == "eow@openssh.com":
            channel.abort()

    # inside: the rest

    def _new_channel(self, protocol: asyncio.Protocol) -> Channel:
        self._last_number = number = (self._last_number + 1) & 0xFFFFFFFF
        channel = self._channels[number] = Channel(self, number, protocol)
        return channel

    async def _request(self, payload: bytes) -> bool:
        if self.why is not None:
            raise self.why
        future: asyncio.Future[bool] = self._loop.create_future()
        self._requests.append(future)
        self.send(payload)
        return await future

    def _tick(self) -> None:
        if not self._pulse.beats(self._loop.time(), self._heard):
            seconds = self._limits.keepalive * self._limits.misses
            self.stop(TunnelLost(f"the shadow pod has not been heard of for {seconds:.0f} s"))
            return
        try:
            self.check()
        except TunnelLost as error:
            self.stop(error)
            return
        self._requests.append(None)
        self.send(m.global_request("keepalive@openssh.com"))
        self._timer = self._loop.call_later(self._limits.keepalive, self._tick)


def _fail(future: asyncio.Future[Any] | None, why: TunnelLost) -> None:
    if future is not None and not future.done():
        future.set_exception(why)
        future.exception()  # its waiter may have gone: no complaint about an exception that nobody read


class OpenRefused(ConnectionError):
    """RFC 4254 §5.1: the pod could not open a stream; REASON is SSH's code. Caught by whoever answers the asker."""

    def __init__(self, reason: int, words: str) -> None:
        super().__init__(f"{m.REASONS.get(reason, f'reason {reason}')}: {words}")
        self.reason = reason
