"""The sending half of an open session: seals, writes once per turn of the loop, and holds back while keys change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ktpy.errors import TunnelLost
from ktpy.net import messages as m
from ktpy.net.channel import Channel
from ktpy.net.handshake import Session
from ktpy.net.rekey import Rekey

FLUSH_SIZE = 512 * 1024
# A message that waits costs about this much more than its own bytes.
OVERHEAD = 64


@dataclass(frozen=True)
class Limits:
    """REKEY_BYTES: new keys after so many bytes in either direction; KEEPALIVE: seconds between questions.

    EXCHANGE: seconds that a change of keys may take. BACKLOG: bytes of messages other than data that may wait.
    """

    keepalive: float = 5.0
    misses: int = 3
    rekey_bytes: int = 1 << 30
    exchange: float = 60.0
    backlog: int = 4 * 1024 * 1024


USUAL = Limits()


class Sending:
    """One per session; the pump is this and the receiving half. `why` is set when the session has ended."""

    def __init__(self, transport: asyncio.Transport, session: Session, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._sealer = session.sealer
        self._limits = limits
        self._rekey = Rekey(
            cipher=session.cipher,
            session_id=session.session_id,
            host_key=session.host_key,
            our_version=session.our_version,
            their_version=session.their_version,
        )
        self._out: list[bytes | bytearray] = []
        self._out_size = 0
        self._held: list[bytes] = []
        self._held_size = 0
        self._behind_size = 0
        self._exchange_since: float | None = None
        self._stuck: dict[int, Channel] = {}
        self._is_woken = False
        self._is_paused = False
        self.why: TunnelLost | None = None

    @property
    def is_clear(self) -> bool:
        """Whether data may be sent now."""
        return not self._is_paused and not self._rekey.is_running and self.why is None

    def send(self, payload: bytes) -> None:
        """A message other than data. While keys are changed it waits (RFC 4253 §7.1)."""
        if self._rekey.is_running:
            self._held.append(payload)
            self._held_size += len(payload) + OVERHEAD
        elif self.why is None:
            if self._is_paused:
                self._behind_size += len(payload) + OVERHEAD
            self._put(self._sealer.seal(payload))

    def check(self) -> None:
        """Errors: TunnelLost, if the other side makes us keep more and more: it asks, and takes no answers."""
        if self._held_size + self._behind_size > self._limits.backlog:
            raise TunnelLost("the shadow pod's sshd asks without end and does not take the answers")
        since = self._exchange_since
        if since is not None and self._loop.time() - since > self._limits.exchange:
            seconds = self._limits.exchange
            raise TunnelLost(f"the shadow pod's sshd did not finish a change of keys within {seconds:.0f} s")

    def send_data(self, head: bytes, data: memoryview) -> None:
        self._put(self._sealer.seal(head, data))
        if self._out_size >= FLUSH_SIZE:
            self._flush()

    def stuck(self, channel: Channel) -> None:
        """CHANNEL has something to send: it is told when the wire is clear again."""
        self._stuck[channel.ours] = channel

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._behind_size = 0
        self._flush_channels()

    def begin_rekey(self) -> None:
        for payload in self._rekey.begin():
            self._put(self._sealer.seal(payload))
        self._time_exchange()

    def exchange(self, payload: bytes) -> None:
        """One message of the key exchange. Behind our NEWKEYS all that was held back goes out under the new keys."""
        for answer in self._rekey.take(payload):
            self._put(self._sealer.seal(answer))
        self._time_exchange()
        fresh = self._rekey.fresh
        if payload[0] == m.KEX_ECDH_REPLY and fresh is not None:
            self._sealer.rekey(fresh.key_out, fresh.iv_out)
            held, self._held, self._held_size = self._held, [], 0
            for waiting in held:
                self.send(waiting)
            self._flush_channels()

    def say_last(self, why: str) -> None:
        """RFC 4253 §11.1 DISCONNECT, then the end of the wire; while keys change there is no saying."""
        if self._rekey.is_running or self._transport.is_closing():
            self._transport.abort()
            return
        self._put(self._sealer.seal(m.disconnect(why)))
        self._flush()
        self._transport.close()

    def _time_exchange(self) -> None:
        if not self._rekey.is_under_way:
            self._exchange_since = None
        elif self._exchange_since is None:
            self._exchange_since = self._loop.time()

    def _put(self, packet: bytes | bytearray) -> None:
        self._out.append(packet)
        self._out_size += len(packet)
        if not self._is_woken:
            # One write per turn of the loop, however many packets it made.
            self._is_woken = True
            self._loop.call_soon(self._wake)

    def _wake(self) -> None:
        self._is_woken = False
        self._flush()
        if self._sealer.bytes_sent > self._limits.rekey_bytes and self.why is None:
            self.begin_rekey()

    def _flush(self) -> None:
        if self._out and self.why is None:
            packets, self._out, self._out_size = self._out, [], 0
            self._transport.writelines(packets)

    def _flush_channels(self) -> None:
        """Each waiting stream goes on until the wire is full again; who was served goes to the end of the line."""
        for number, channel in list(self._stuck.items()):
            if not self.is_clear:
                return
            del self._stuck[number]
            channel.flush()
