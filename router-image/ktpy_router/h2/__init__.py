"""HTTP/2 with prior knowledge (h2c, and so gRPC), relayed frame by frame.

The way of a stream. `relay.py` holds the sockets: one client connection, and for each upstream that its streams go to
one connection of its own, so that a stream has the same id on both sides and most frames leave as they came. Bytes of
the client go to `client.py`, bytes of an upstream to `link.py`. Both know no sockets: they read whole frames, mind the
state of the connection, and append what is to be written to lists that `relay.py` writes once per read. What spans
both sides is `state.py`: opening a stream (`find.py` asks the chooser which row, looking for a header's name in the
compressed block before it decodes anything), moving it to the original when the row's upstream fails, ending it. What
the router says itself is made in `answer.py`.

Three rules make frames pass unchanged. (1) We announce SETTINGS_HEADER_TABLE_SIZE 0 to both sides, so header blocks
need no state and are forwarded as bytes; until a side has acknowledged that, its blocks are decoded and written anew.
(2) We announce SETTINGS_MAX_FRAME_SIZE's least value, which everybody must take. (3) A stream's flow-control window is
the receiver's own, passed through; only where the two sides' initial windows differ is anything kept (`flow.py`).
Windows of connections are each hop's own; how the client's change of its initial window passes says `settings.py`.
What HTTP itself asks of a request (RFC 9113, section 8) is judged by the upstream, which sees every byte of it; what
ends a connection is judged here, hop by hop, so that neither side's mistake ends the connections of others. Of an
upstream that is also what a strict client ends its connection for: more DATA than its window, or frames in an order
that no answer has (`link_frames.py`).
"""
