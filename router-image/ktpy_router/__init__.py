"""The router: it stands in front of a Service, and sends each request to the laptop that asked for it.

**The way of a request.** A client connects to a port of the Service. `door` accepts it and reads what it says at once.
One usual request is answered on the plain socket (`once`, and `bare` if that turns out to be too little), since many
clients connect for one; any other client is taken for one that speaks HTTP/1 (`http1`); where its first bytes say
something else, or nothing comes, `sniff` finds out who takes the connection: `h2`, or `raw`, which also carries TLS,
whose bytes nobody can match. `http1` lets llhttp find where the request's head ends (`framing`, `head`), asks the
port's `Chooser` (`match`) which row of the `table` takes it, and writes the very bytes it read to that row's
`upstream`, over a connection of the `pool`; the answer goes back the same way. `h2` does so frame by frame, for each
stream on its own. Nothing is parsed that need not be, nothing is changed that need not be: Host, trailers, interim
answers, WebSockets and half-closed connections arrive as they were sent. No row matches: the *original* answers, which
is what the Service was before.

**When a laptop is gone**, its row's upstream refuses, swallows or closes connections. `fallback` decides what becomes
of the request: the original answers it, and the answer says so in a header `ktpy-fallback`; a `strict` row answers
502; a row with `hold` waits for its program to be started again. After that `breaker` and `upstream` keep others from
paying for the same failure, and look for the laptop until it is back.

**The table** is one JSON document. It comes from a file (`store`) and from whoever may reach the `control` port, which
listens inside the pod only. A new one is read whole or refused with a sentence, handed to all workers while it is being
kept (`desk`), and put in force by one assignment (`core`), and each connection sees it at its next request. No
connection is ever broken for it.

**Processes.** `launch` is the first: it binds the ports, forks one `control` process and the workers, and forks again
what died. A `worker` runs mitmproxy's own `mitmdump` with a server mode of ours (`mode`), so that mitmproxy's options,
addons, logging and life cycle hold; `life` makes it ready, keeps its time and lets it end in peace.
Workers share the listening sockets, and talk to the control process through a `channel`.

**What passes mitmproxy's HTTP layer, and what does not.** Rows with `inspect` do, in a `mitmweb` process of their own
(`inspect`), where their requests can be looked at, saved and sent again. Everything else passes a mitmproxy *server
mode*, not its HTTP layer: that one is made for looking at traffic, not for carrying it. Plain mitmdump reaches about
a hundredth of nginx's requests per second, hangs on trailers and interim answers, and keeps what it has seen.

Where is …
  a limit or a timeout      `config`
  what can be matched       `request`, `match`
  which row wins            `match.Chooser`
  how a message is framed   `framing`, `head` (HTTP/1), `h2.frames`, `h2.hpack`
  what happens at failure   `fallback`, `breaker`, `upstream`
  a copy of a request       `mirror`
  a counter                 `stats`
  a row of a dead session   `leases`, `desk`
  a name turned into an IP  `resolve`
"""
