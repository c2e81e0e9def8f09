"""The client, and the origins, of an HTTP/2 world."""

from __future__ import annotations

from contextlib import suppress
from random import Random

from h2.errors import ErrorCodes
from h2.events import Event, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

from tests.router.fuzz.h2_peers import Fields, Peer, Saying, Told, some_body, some_fields
from tests.router.fuzz.wires import EOF, Wire


class ClientPeer(Peer):
    """Opens streams, for ana and for the original."""

    def open(self, number: int) -> None:
        rng = self.rng
        ana = rng.random() < 0.5
        body = some_body(rng)
        method = rng.choice((b"POST", b"PUT")) if body else rng.choice((b"GET", b"GET", b"HEAD", b"DELETE"))
        fields: Fields = [
            (b":method", method),
            (b":scheme", b"http"),
            (b":path", b"/a"),
            (b":authority", b"shop"),
            (b"x-id", b"%d" % number),
        ]
        if ana:
            fields.append((b"version", b"ana"))
        elif rng.random() < 0.3:
            fields.append((b"version", b"bob"))
        fields += some_fields(rng)
        if body and rng.random() < 0.3:
            fields.append((b"content-length", b"%d" % sum(map(len, body))))
        saying = Saying(
            body, [(b"x-trailer", b"t"), *some_fields(rng)] if rng.random() < 0.2 else [], rng.random() < 0.05
        )
        stream = self.h2.get_next_available_stream_id()
        end = not (saying.parts or saying.trailers or saying.reset)
        try:
            self.h2.send_headers(stream, fields, end_stream=end)
        except ProtocolError:
            return
        self.said[stream] = Told(fields, ended=end)
        if not end:
            self.saying[stream] = saying


class OriginPeer(Peer):
    """Answers; NAME is its upstream's. ROUGH: it may also refuse, reset and leave, which it is allowed to."""

    def __init__(self, rng: Random, wire: Wire, *, name: str, wild: bool, rough: bool, client_wild: bool) -> None:
        super().__init__(rng, wire, is_client=False, wild=wild)
        self.name, self.rough = name, rough
        self.others_wild = self.trusting = client_wild
        self.answered: set[int] = set()

    def heard(self, event: Event) -> None:
        super().heard(event)
        early = isinstance(event, RequestReceived) and self.rng.random() < 0.2
        if (early or isinstance(event, StreamEnded)) and event.stream_id not in self.answered:
            self.answered.add(event.stream_id)
            with suppress(ProtocolError):  # it may be over before it is looked at
                self._answer(event.stream_id)

    def _answer(self, stream: int) -> None:
        rng, told = self.rng, self.told[stream]
        if self.rough and rng.random() < 0.15:
            way = rng.random()
            if way < 0.4:
                self.h2.reset_stream(stream, rng.choice((ErrorCodes.REFUSED_STREAM, ErrorCodes.INTERNAL_ERROR)))
            elif way < 0.7:
                self.h2.close_connection(
                    ErrorCodes.NO_ERROR, last_stream_id=rng.choice((0, stream, stream - 2 if stream > 1 else 0))
                )
                self._send(self.h2.data_to_send())
                self.gone = True
                self.wire.inbox.append(EOF)
            else:
                self.gone = True
                self.wire.inbox.append(EOF)
            self.said[stream] = Told(reset=1)
            return
        is_head = (b":method", b"HEAD") in told.fields
        body = [] if is_head else some_body(rng)
        fields: Fields = [
            (b":status", rng.choice((b"200", b"200", b"404"))),
            (b"x-id", told.id),
            (b"x-from", self.name.encode()),
            *some_fields(rng),
        ]
        saying = Saying(
            body,
            [(b"grpc-status", b"0"), *some_fields(rng)] if rng.random() < 0.3 else [],
            self.rough and rng.random() < 0.05,
        )
        interim = rng.choice((0, 0, 0, 1, 2))
        for _ in range(interim):
            self.h2.send_headers(stream, [(b":status", rng.choice((b"103", b"100"))), (b"x-early", b"1")])
        end = not (saying.parts or saying.trailers or saying.reset)
        self.h2.send_headers(stream, fields, end_stream=end)
        self.said[stream] = Told(fields, interim=interim, ended=end)
        if not end:
            self.saying[stream] = saying
