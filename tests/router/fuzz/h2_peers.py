"""One end of a connection with the router: the `h2` library, which is also the judge of what it is sent."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    InformationalResponseReceived,
    RequestReceived,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import FlowControlError, InvalidBodyLengthError, ProtocolError, StreamClosedError
from h2.settings import SettingCodes

from tests.router.fuzz import h2_frames, http1_grammar
from tests.router.fuzz.http1_framing import Finding
from tests.router.fuzz.wires import Wire

Fields = list[tuple[bytes, bytes]]
WINDOWS = (0, 5000, 16384, 65535, 65536, 300000)
NAMES = (b"x-a", b"accept", b"cookie", b"te-st", b"user-agent", b"x-long")
VALUES = (b"", b"1", b"trailers", b"a=b; version=ana", b"\xe4\xf6", b"x" * 60, b"ana", b"y" * 300)


@dataclass
class Told:
    """What one side has heard, or wants to say, on a stream."""

    fields: Fields = field(default_factory=list)
    body: bytes = b""
    trailers: Fields = field(default_factory=list)
    interim: int = 0
    ended: bool = False
    reset: int = -1

    @property
    def id(self) -> bytes:
        return b"".join(value for name, value in self.fields if name == b"x-id")

    @property
    def essence(self) -> tuple[Fields, bytes, Fields]:
        return [one for one in self.fields if one[0] != b"ktpy-fallback"], self.body, self.trailers


@dataclass
class Saying:
    """What is left to be said on a stream."""

    parts: list[bytes]
    trailers: Fields
    reset: bool = False


def some_fields(rng: Random) -> Fields:
    return [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.choice((0, 0, 1, 2)))]


def some_body(rng: Random) -> list[bytes]:
    sizes = rng.choice(((), (), (5,), (0, 100), (20000,), (40000, 40000), (90000,), (1, 1, 1)))
    return [bytes((97 + i,)) * size for i, size in enumerate(sizes)]


SEMANTIC = (
    "cannot receive data before headers",
    "Trailers must have END_STREAM",
    "END_STREAM on informational",
    "nformational response",
    "Invalid content-length header",
    "RECV_INFORMATIONAL_HEADERS in state",
)
"""What HTTP asks of a message (RFC 9113 section 8.1.1): a stream's error, and the connection's to h2 alone. The router
leaves it to who gets the message."""
BLOCK = "Error decoding header block"
"""Blocks go unseen from clients to upstreams, which have connections of their own for each client, and from the
original to clients."""


class Peer:
    """One end of a connection with the router. WILD: what it sends is mutated, and what it hears is not judged.

    PLAIN: it keeps to the windows that everybody begins with.
    """

    def __init__(self, rng: Random, wire: Wire, *, is_client: bool, wild: bool, plain: bool = False) -> None:
        self.rng, self.wire, self.wild = rng, wire, wild
        self.is_client = is_client
        self.h2 = H2Connection(
            H2Configuration(
                is_client,
                header_encoding=None,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
            )
        )
        self.told: dict[int, Told] = {}
        self.saying: dict[int, Saying] = {}
        self.said: dict[int, Told] = {}
        self.unread: dict[int, int] = {}
        self.lazy = rng.random() < 0.2
        """It reads nothing before the end is near, so that windows are used up."""
        self.gone = self.over = False
        self.others_wild = self.trusting = False
        self.is_first = True
        """SETTINGS must be the first."""
        self.fault = ""
        self.wish = 0
        """A window to announce when the last SETTINGS are acknowledged."""
        self.talk = rng.choice((0, 0, 3, 10))
        self.calm = False
        """The end is near: read all, say all."""
        first: dict[SettingCodes | int, int] = {}
        if rng.random() < 0.5 and not plain:
            first[SettingCodes.INITIAL_WINDOW_SIZE] = rng.choice(WINDOWS)
        if rng.random() < 0.3 and not is_client:
            first[SettingCodes.MAX_CONCURRENT_STREAMS] = rng.choice((1, 2, 100))
        if rng.random() < 0.2:
            first[SettingCodes.MAX_FRAME_SIZE] = 16384 * 2
        # h2 keeps new values apart until they are acknowledged, but would announce the old ones at the beginning. It
        # cannot tell acknowledgements apart: no more than one SETTINGS may be on its way.
        self.h2.local_settings.update(first)
        self.h2.initiate_connection()
        self.first = h2_frames.with_settings(self.h2.data_to_send(), first)
        self.unacknowledged = 1

    def hear(self, data: bytes) -> None:
        """Errors: Finding, when it cannot be borne though we have sent nothing wrong."""
        if self.gone:
            return
        try:
            events = self.h2.receive_data(data)
        except ProtocolError as error:
            self.gone = True
            self.fault = f"{type(error).__name__}: {error}"
            if not self.wild and not self.excused(error, data):
                raise Finding(
                    f"{'the client' if self.is_client else 'an origin'} hears what is wrong: {self.fault}"
                ) from error
            return
        for event in events:
            self.heard(event)

    def excused(self, error: ProtocolError, data: bytes) -> bool:
        """Whether the other side's message was so wrong that ours to judge it is."""
        if "RECV_INFORMATIONAL_HEADERS in state 6" in str(error):
            return True  # h2 has no rule for a 1xx that meets its own RST_STREAM
        if isinstance(error, FlowControlError):
            if any(frame.kind == h2_frames.DATA and not frame.payload for frame in h2_frames.split(data)[1]):
                return True  # nothing fits into any window (RFC 9113 section 6.9.1), but for h2 into none below 0
            return self.is_client and self.others_wild  # streams' windows are not watched on behalf of the client
        if isinstance(error, InvalidBodyLengthError) or any(text in str(error) for text in SEMANTIC):
            return self.others_wild
        return BLOCK in str(error) and self.trusting

    def heard(self, event: Event) -> None:
        if isinstance(event, RequestReceived | ResponseReceived):
            told = self.told.setdefault(event.stream_id, Told())
            told.fields = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
        elif isinstance(event, InformationalResponseReceived):
            self.told.setdefault(event.stream_id, Told()).interim += 1
        elif isinstance(event, DataReceived):
            self.told[event.stream_id].body += event.data
            if event.flow_controlled_length:
                self.read(event.stream_id, event.flow_controlled_length)
        elif isinstance(event, TrailersReceived):
            self.told[event.stream_id].trailers = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
        elif isinstance(event, StreamEnded):
            self.told[event.stream_id].ended = True
        elif isinstance(event, StreamReset):
            self.told.setdefault(event.stream_id, Told()).reset = int(event.error_code or 0)
            self.saying.pop(event.stream_id, None)
        elif isinstance(event, SettingsAcknowledged):
            self.unacknowledged -= 1
        elif isinstance(event, ConnectionTerminated):
            self.over = True

    def read(self, stream: int, size: int) -> None:
        if self.lazy and not self.calm:
            self.unread[stream] = self.unread.get(stream, 0) + size
            return
        with suppress(StreamClosedError, ValueError):
            self.h2.acknowledge_received_data(size, stream)

    def speak(self) -> bool:
        """Some of what there is to say. Whether anything was said."""
        rng = self.rng
        for stream in list(self.saying):
            if self.calm or rng.random() < 0.5:
                try:
                    self._say(stream, self.saying[stream])
                except ProtocolError:
                    self.saying.pop(stream, None)  # it was closed meanwhile
        if self.talk and not self.calm and not self.gone and rng.random() < 0.3:
            self.talk -= 1
            self._small_talk()
        if self.wish and not self.unacknowledged:
            self._set_window(self.wish)
        data = self.first + self.h2.data_to_send()
        self.first = b""
        if data:
            self._send(data)
        return bool(data)

    def _say(self, stream: int, saying: Saying) -> None:
        said = self.said[stream]
        if saying.reset and not saying.parts:
            self.h2.reset_stream(stream, self.rng.choice((ErrorCodes.CANCEL, ErrorCodes.INTERNAL_ERROR)))
            said.reset = 1
            del self.saying[stream]
            return
        while saying.parts:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            part = saying.parts[0]
            pad = self.rng.choice((None, None, 0, 7)) if room > len(part) + 8 else None
            now, later = part[: max(room, 0)], part[max(room, 0) :]
            if part and not now:
                return
            end = not later and len(saying.parts) == 1 and not saying.trailers and not saying.reset
            self.h2.send_data(stream, now, end_stream=end, pad_length=pad)
            said.body += now
            if later:
                saying.parts[0] = later
                return
            saying.parts.pop(0)
            if end:
                said.ended = True
                del self.saying[stream]
                return
        if saying.reset:
            return
        if saying.trailers:
            self.h2.send_headers(stream, saying.trailers, end_stream=True)
            said.trailers = saying.trailers
        else:
            self.h2.send_data(stream, b"", end_stream=True)
        said.ended = True
        del self.saying[stream]

    def _small_talk(self) -> None:
        way = self.rng.random()
        try:
            if way < 0.4:
                self.h2.ping(b"pingpong")
            elif way < 0.7:
                self._set_window(self.rng.choice(WINDOWS))
            else:
                streams = [s for s, told in self.told.items() if not told.ended]
                self.h2.increment_flow_control_window(self.rng.choice((5000, 70000)), self.rng.choice([None, *streams]))
        except (ProtocolError, ValueError, KeyError):
            pass

    def open_up(self) -> None:
        """Windows that stop nothing any more."""
        self.calm = True
        self.wish = 300000
        for stream, size in self.unread.items():
            self.read(stream, size)
        with suppress(ProtocolError, ValueError):
            self.h2.increment_flow_control_window(1 << 20)

    def _set_window(self, size: int) -> None:
        if self.unacknowledged or self.gone:
            self.wish = size
            return
        self.unacknowledged += 1
        self.wish = 0
        with suppress(ProtocolError):
            self.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})

    def _send(self, data: bytes) -> None:
        start, found = h2_frames.split(data)
        framed = found if self.is_first else [made for one in found for made in h2_frames.dressed(self.rng, one)]
        self.is_first = False
        if self.wild and self.rng.random() < 0.7:
            raw = start + h2_frames.mutated(self.rng, framed)
        else:
            raw = start + b"".join(map(bytes, framed))
        if self.rng.random() < 0.7:
            self.wire.inbox.append(raw) if raw else None
        else:
            self.wire.inbox.extend(http1_grammar.pieces(self.rng, raw))
