"""The streams of a client connection: taking them in, sending them on their way, and ending them."""

from __future__ import annotations

from bisect import insort
from collections import deque
from typing import TYPE_CHECKING

from ktpy_router.h2 import answer, flow, frames, hpack, rescue
from ktpy_router.h2.client import Client
from ktpy_router.h2.find import Finder, finder
from ktpy_router.h2.flow import CLIENT_WINDOW, Down
from ktpy_router.h2.frames import DEFAULT_WINDOW, LARGEST_WINDOW, Code
from ktpy_router.h2.limits import CAUTIOUS_STREAMS, MOST_STREAMS
from ktpy_router.h2.link import Link
from ktpy_router.h2.link_reader import LinkReader
from ktpy_router.h2.mirror import Copy
from ktpy_router.h2.settings import ClientSettings
from ktpy_router.h2.stream import Stream
from ktpy_router.match import Chooser
from ktpy_router.stats import LAST_BUCKET

if TYPE_CHECKING:
    from ktpy_router.config import Config
    from ktpy_router.core import PortState
    from ktpy_router.h2.world import World
    from ktpy_router.upstream import Upstream

MOST_FORGOTTEN = 1024


class Connection:
    """What state.py calls Relay is this, with the calls from outside."""

    def __init__(self, config: Config, port: PortState, world: World, *, now: float, forwarded: bytes = b"") -> None:
        self.config = config
        self.port = port
        self.world = world
        self.now = now
        self.forwarded = forwarded
        """A field for the end of each request's block, or nothing."""
        self.streams: dict[int, Stream] = {}
        """Those that are open at the client."""
        self.to_client: list[bytes | memoryview] = []
        self.ended = False
        self.links: dict[Upstream, Link] = {}
        """The link that takes new streams."""
        self.all_links: list[Link] = []
        self.waiting: deque[Down] = deque()
        """For the window of the client's connection."""
        self.settings = ClientSettings(self)
        self.send_window = DEFAULT_WINDOW
        self.receive_window = CLIENT_WINDOW
        self.credit = 0
        self.primed = False
        """Whether the client's decoder was told that no dynamic table is used."""
        self.client_leaves = False
        self.draining = False
        self.last_taken = LARGEST_WINDOW
        """What the final GOAWAY said; until then all are taken."""
        self.forgotten: dict[int, None] = {}
        """Streams that were ended here while the client may still have sent something."""
        self._chooser: Chooser | None = None
        self._finder: Finder
        self._connect_announced = False
        self.began = self.idle_since = now
        self.goaway_at = 0.0
        self.client = Client(self)
        announced = ((frames.HEADER_TABLE_SIZE, 0), (frames.MAX_CONCURRENT_STREAMS, MOST_STREAMS))
        self.to_client.append(frames.settings(*announced, (frames.MAX_HEADER_LIST_SIZE, config.head_bytes)))
        self.to_client.append(frames.window_update(0, CLIENT_WINDOW - DEFAULT_WINDOW))

    def admit(self, sid: int, block: bytes, *, end: bool, direct: bool = True) -> Stream | None:
        """A new stream, counted and with its row. With DIRECT its link is set if its frame may go there as it is;
        otherwise, and always without, `place` is to follow. None: it was refused.

        Errors: ConnectionFault when the block had to be decoded and cannot be.
        """
        port = self.port
        chooser = port.chooser
        if chooser is not self._chooser:
            self._chooser, self._finder = chooser, finder(chooser)
        if len(self.streams) >= MOST_STREAMS or sid > self.last_taken:
            self.forget(sid)
            self.to_client.append(frames.rst_stream(sid, Code.REFUSED_STREAM))
            return None
        row = self._finder.row(block)
        stats = port.row_stats(row)
        stats.requests += 1
        stats.open += 1
        room = self.settings.in_force
        stream = Stream(sid, block, end=end, row=row, stats=stats, now=self.now, room=room)
        self.streams[sid] = stream
        stream.upstream = upstream = port.upstream(row)
        link = self.links.get(upstream)
        if (
            direct
            and link is not None
            and link.primed
            and sid > link.last
            and link.open < link.limit
            and not link.queue
            and not link.congested
            and not self.forwarded
            and not self._finder.mirrors
            and (row is None or not row.add)
            and len(block) <= self.config.head_bytes
        ):
            link.last = sid
            link.open += 1
            stream.link = link
            stream.send_window = link.initial_window
            if not end:
                stream.owed = link.initial_window - DEFAULT_WINDOW
        return stream

    def place(self, stream: Stream) -> None:
        """Send a stream on its way, which may be to wait."""
        if len(stream.block) > self.config.head_bytes:
            self.answer(
                stream, 431, "head too long", f"The request's head is longer than {self.config.head_bytes} bytes."
            )
            return
        if self._finder.mirrors and (rows := self._finder.copies(stream.block)):
            stream.copy = Copy(rows, stream.block)
            if stream.client_ended:
                self.copy(stream)
        assert stream.upstream is not None
        if stream.upstream.is_open and stream.upstream is not self.port.default:  # the original is always tried
            rescue.unreachable(self, stream, "is down")
        else:
            self.send(stream, stream.upstream)

    def send(self, stream: Stream, upstream: Upstream) -> None:
        """On the upstream's link, or in its queue. Ids must grow: a late stream needs another link (section 5.1.1)."""
        stream.upstream = upstream
        before = link = self.links.get(upstream)
        if link is not None and link.last >= stream.id:
            rescue.retire(self, link)
            link = None
        if link is None:
            link = self.adopt(upstream, before.limit if before else CAUTIOUS_STREAMS)
            self.world.dial(link)
        stream.link = link
        if stream.held is None or stream.kept is not None:
            stream.held = deque(stream.kept or ())
        insort(link.queue, stream, key=lambda other: other.id)
        if link.up:
            self.launch_queued(link)

    def adopt(self, upstream: Upstream, limit: int = CAUTIOUS_STREAMS) -> Link:
        """A new link, whose connection is to be made or is there already."""
        link = self.links[upstream] = LinkReader(self, upstream, trusted=upstream is self.port.default, limit=limit)
        self.all_links.append(link)
        return link

    def launch_queued(self, link: Link) -> None:
        """As many as the upstream takes at once (section 5.1.2)."""
        while link.queue and link.open < link.limit and not link.congested:
            stream = link.queue.pop(0)
            link.last = stream.id
            link.open += 1
            block = stream.block
            if stream.row is not None:  # whoever answers in the end
                block += b"".join(hpack.literal(*field) for field in stream.row.add)
            block += self.forwarded
            if not link.primed:
                link.primed, block = True, hpack.EMPTY_TABLE + block
            ends = stream.client_ended and not stream.held
            link.out.append(frames.headers(stream.id, block, end=ends))
            stream.send_window = link.initial_window
            stream.owed = link.initial_window - stream.receive_window - stream.body
            if extra := stream.room - self.settings.in_force:  # the client gave more credit before the answer
                link.out.append(frames.window_update(stream.id, extra))
            flow.drain_up(self, stream)
            flow.grant(self, stream)

    def is_launched(self, stream: Stream) -> bool:
        """Whether its HEADERS went to the link that it has."""
        return stream.link is not None and stream.link.up and stream not in stream.link.queue

    def copy(self, stream: Stream) -> None:
        """The request is complete: mirror rows may have it."""
        copy, stream.copy = stream.copy, None
        if copy is not None:
            for row in copy.rows:
                self.world.copy(copy, row)

    def client_ended(self, stream: Stream) -> None:
        """END_STREAM came."""
        stream.client_ended = True
        if stream.upstream_ended:
            self.close(stream)

    def client_reset(self, stream: Stream, code: int) -> None:
        """RST_STREAM passes, if there is anybody to tell."""
        if stream.link is not None and self.is_launched(stream):
            stream.link.out.append(frames.rst_stream(stream.id, code))
        self.close(stream)

    def upstream_ended(self, stream: Stream) -> None:
        """END_STREAM of the upstream has gone to the client."""
        stream.upstream_done = stream.upstream_ended = True
        if stream.client_ended:
            self.close(stream)

    def upstream_reset(self, stream: Stream, code: int) -> None:
        """RST_STREAM passes, after what came before it."""
        if code == Code.REFUSED_STREAM and rescue.again(self, stream):
            return
        if not stream.upstream_done:
            stream.stats.errors += 1
        reset = frames.rst_stream(stream.id, code)
        stream.upstream_done = stream.client_ended = True
        stream.answered = True
        assert stream.link is not None
        flow.drop_held(self, stream)
        self.forget(stream.id)
        self.waiting.append(Down(stream.link, stream, reset, b"", True))
        flow.drain_down(self)

    def extended_connect(self, link: Link) -> None:
        """The client may use what the original can (RFC 8441, section 3)."""
        if link.trusted and not self._connect_announced:
            self._connect_announced = True
            self.to_client.append(frames.settings((frames.ENABLE_CONNECT_PROTOCOL, 1)))
            self.client.announced()

    def close(self, stream: Stream) -> None:
        """Both sides are done with it."""
        del self.streams[stream.id]
        stats = stream.stats
        stats.open -= 1
        took = int((self.now - stream.began) * 1e6).bit_length()
        stats.histogram[took if took < LAST_BUCKET else LAST_BUCKET] += 1
        if not self.streams:
            self.idle_since = self.now
        link = stream.link
        if stream.held is not None:
            flow.drop_held(self, stream)
            if link is not None:
                if stream in link.queue:
                    link.queue.remove(stream)
                    return
                if stream.client_ended and stream.upstream_ended:  # nobody waits for the rest of the request
                    link.out.append(frames.rst_stream(stream.id, Code.CANCEL))
        if link is not None:
            link.open -= 1
            if not link.open:
                link.idle_since = self.now

    def forget(self, sid: int) -> None:
        """What the client still sends on it is dropped without a word."""
        self.forgotten[sid] = None
        if len(self.forgotten) > MOST_FORGOTTEN:
            del self.forgotten[next(iter(self.forgotten))]

    def break_off(self, stream: Stream, code: Code) -> None:
        """A stream error (section 5.4.2), told to both sides."""
        stream.stats.errors += 1
        self.forget(stream.id)
        if not stream.upstream_ended or not stream.client_ended:
            self.to_client.append(frames.rst_stream(stream.id, code))
        self.client_reset(stream, code)

    def answer(self, stream: Stream, status: int, reason: str, sentence: str) -> None:
        """The router's own. Its text is sent if the client's windows have room for it."""
        stream.stats.errors += 1
        room = min(stream.room, self.send_window) if not self.waiting else 0
        body = len(sentence) < room and not answer.is_head(stream.block)
        grpc = answer.is_grpc(stream.block)
        made = answer.answer(stream.id, status, reason, sentence, grpc=grpc, body=body)
        if body and not grpc:
            self.send_window -= len(sentence.encode()) + 1
        self.to_client.append(made)
        if not stream.client_ended:  # section 8.1: the rest of the request is not needed
            self.to_client.append(frames.rst_stream(stream.id, Code.NO_ERROR))
            self.forget(stream.id)
        self.close(stream)
