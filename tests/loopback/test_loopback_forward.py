"""The port-forward leg over real sockets: TLS, proxy, refusals, dead peers, pace; and a whole tunnel through it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.sync.server import ServerConnection

from ktpy.cluster.endpoint import Endpoint
from ktpy.cluster.forward import dial
from ktpy.errors import Forbidden, KtError, NotFound, TunnelLost, Unreachable
from ktpy.net.tunnel import Timeouts
from tests.loopback import kubelet as kubelets
from tests.loopback.apps import call, digest, echo, expected, send, serving
from tests.loopback.conftest import Pod
from tests.loopback.kubelet import Kubelet
from tests.loopback.wires import Middle

Loop = Callable[[], asyncio.AbstractEventLoop]


class Caller(asyncio.Protocol):
    def __init__(self) -> None:
        self.size = 0
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.enough = asyncio.Event()
        self.wanted = 0
        self.may_write = asyncio.Event()
        self.may_write.set()

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if self.size >= self.wanted:
            self.enough.set()

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def connection_lost(self, why: Exception | None) -> None:
        self.ended.set_result(why)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    made: Loop = request.param
    return made


@pytest.fixture
def kubelet() -> Iterator[Kubelet]:
    with kubelets.running() as kubelet:
        kubelet.pods["shadow"] = kubelets.echo
        yield kubelet


def at(kubelet: Kubelet, **more: Any) -> Endpoint:
    return Endpoint("127.0.0.1", kubelet.port, "", more.pop("tls", None), None, dict, **more)


def run(loop: Loop, work: Coroutine[Any, Any, object]) -> None:
    async def settled() -> None:
        try:
            await work
        finally:
            for _ in range(5):  # an aborted transport is closed in a later turn of its loop
                await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(settled())


async def echoed(endpoint: Endpoint, size: int = 5_000_000) -> None:
    stream, caller = await dial(endpoint, "dev", "shadow", 2222, Caller, timeout=5)
    caller.wanted = size
    stream.writelines([b"x" * 30_000] * (size // 30_000) + [b"y" * (size % 30_000)])
    await asyncio.wait_for(caller.enough.wait(), 20)
    assert caller.size == size
    stream.close()
    assert await asyncio.wait_for(caller.ended, 5) is None


def test_bytes_there_and_back(loop: Loop, kubelet: Kubelet) -> None:
    run(loop, echoed(at(kubelet)))
    assert kubelet.paths == ["/api/v1/namespaces/dev/pods/shadow/portforward?ports=2222"]


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What the server shows, and a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "api")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert").write_bytes(made.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key").write_bytes(private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert", folder / "key")
    return server, ssl.create_default_context(cafile=str(folder / "cert"))


def test_through_tls_and_a_proxy(loop: Loop, tmp_path: Path) -> None:
    server, client = certificate(tmp_path)
    with kubelets.running(tls=server) as kubelet, proxy() as (port, asked):
        kubelet.pods["shadow"] = kubelets.echo
        run(loop, echoed(at(kubelet, tls=client)))
        run(loop, echoed(at(kubelet, tls=client, proxy=f"http://ana:x@127.0.0.1:{port}")))
    assert f"CONNECT 127.0.0.1:{kubelet.port} HTTP/1.1" in asked[0]


def test_a_certificate_that_nobody_vouches_for(loop: Loop, tmp_path: Path) -> None:
    server, _ = certificate(tmp_path)
    with kubelets.running(tls=server) as kubelet, pytest.raises(Unreachable, match="certificate"):
        run(loop, echoed(at(kubelet, tls=ssl.create_default_context())))


def test_a_proxy_that_refuses(loop: Loop, kubelet: Kubelet) -> None:
    def refuse(peer: socket.socket) -> None:
        peer.recv(1000)
        peer.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    with serving(refuse) as port, pytest.raises(Unreachable, match="407"):
        run(loop, echoed(at(kubelet, proxy=f"http://127.0.0.1:{port}")))
    with pytest.raises(KtError, match="only http"):
        run(loop, echoed(at(kubelet, proxy="socks5://127.0.0.1:1")))


@contextlib.contextmanager
def proxy() -> Iterator[tuple[int, list[str]]]:
    asked: list[str] = []

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def handle(peer: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += peer.recv(1000)
        asked.append(head.decode())
        host, _, port = head.split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port))) as inner:
            peer.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=copy, args=(inner, peer))
            back.start()
            copy(peer, inner)
            back.join()

    with serving(handle) as port:
        yield port, asked


@pytest.mark.parametrize(
    ("refuses", "kind", "says"),
    [
        ((403, 'User "ana" cannot get'), Forbidden, 'User "ana" cannot get'),
        ((401, "Unauthorized"), Forbidden, "does not accept this login"),
        ((500, "container not running"), TunnelLost, "container not running"),
        ((200, "hello"), TunnelLost, "no WebSocket"),
        (None, NotFound, "pod/gone in dev is gone"),
    ],
)
def test_refusals(loop: Loop, kubelet: Kubelet, refuses: Any, kind: type[KtError], says: str) -> None:
    kubelet.refuses = refuses
    with pytest.raises(kind, match=says):
        run(loop, dial(at(kubelet), "dev", "gone", 2222, Caller, timeout=5))


def test_nobody_there_and_nobody_answering(loop: Loop, kubelet: Kubelet) -> None:
    with serving(lambda peer: None) as closed:
        pass
    nobody = Endpoint("127.0.0.1", closed, "", None, None, dict)
    with pytest.raises(Unreachable, match="no connection"):
        run(loop, dial(nobody, "dev", "shadow", 1, Caller, timeout=5))
    with serving(lambda peer: peer.recv(1) and peer.recv(100_000) and None) as silent:
        quiet = Endpoint("127.0.0.1", silent, "", None, None, dict)
        with pytest.raises((Unreachable, TunnelLost)):
            run(loop, dial(quiet, "dev", "shadow", 1, Caller, timeout=0.3))


def test_a_port_that_nobody_listens_on(loop: Loop, kubelet: Kubelet) -> None:
    kubelet.pods["shadow"] = lambda connection: connection.send(b"\1dial tcp4 127.0.0.1:2222: connection refused")

    async def main() -> None:
        _, caller = await dial(at(kubelet), "dev", "shadow", 2222, Caller, timeout=5)
        assert "127.0.0.1:2222: connection refused" in str(await asyncio.wait_for(caller.ended, 5))

    run(loop, main())


def test_a_server_that_falls_silent(loop: Loop, kubelet: Kubelet) -> None:
    async def main() -> None:
        _, caller = await dial(there, "dev", "shadow", 2222, Caller, timeout=5, ping=0.1)
        middle.freeze()
        assert "is silent" in str(await asyncio.wait_for(caller.ended, 5))

    with Middle(kubelet.port) as middle:
        there = Endpoint("127.0.0.1", middle.port, "", None, None, dict)
        run(loop, main())


def test_pings_keep_it_alive(loop: Loop, kubelet: Kubelet) -> None:
    async def main() -> None:
        stream, caller = await dial(at(kubelet), "dev", "shadow", 2222, Caller, timeout=5, ping=0.3)
        done, _ = await asyncio.wait([caller.ended], timeout=1.5)  # without an answer it is dead after 0.9 s
        assert not done
        stream.abort()
        await caller.ended

    run(loop, main())


def test_a_slow_server_pauses_the_writer(loop: Loop, kubelet: Kubelet) -> None:
    go_on = threading.Event()

    def slow(connection: ServerConnection) -> None:
        go_on.wait(10)
        kubelets.echo(connection)

    kubelet.pods["shadow"] = slow

    async def main() -> None:
        stream, caller = await dial(at(kubelet), "dev", "shadow", 2222, Caller, timeout=5)
        sent = 0
        while caller.may_write.is_set():
            stream.write(b"x" * 100_000)
            sent += 100_000
            assert sent < 100_000_000  # what kernels and queues may hold; how often they made room is theirs
            await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait_for(caller.may_write.wait(), 10)
        caller.wanted = sent
        if caller.size < sent:
            await asyncio.wait_for(caller.enough.wait(), 10)
        stream.abort()
        await caller.ended

    run(loop, main())


def test_a_slow_reader_stops_the_server(loop: Loop, kubelet: Kubelet) -> None:
    sent = 0

    def pour(connection: ServerConnection) -> None:
        nonlocal sent
        for _ in range(2000):
            connection.send(b"\0" + bytes(32 * 1024))
            sent += 32 * 1024
        connection.recv()

    kubelet.pods["shadow"] = pour

    async def main() -> None:
        stream, caller = await dial(at(kubelet), "dev", "shadow", 2222, Caller, timeout=5)
        stream.pause_reading()
        last = -1
        while last != sent:
            last = sent
            await asyncio.wait([caller.ended], timeout=0.3)
        assert sent < 40 << 20
        stream.resume_reading()
        caller.wanted = 2000 * 32 * 1024
        await asyncio.wait_for(caller.enough.wait(), 20)
        stream.abort()
        await caller.ended

    run(loop, main())


REFUSED = (
    b"an error occurred forwarding 2222 -> 2222: error forwarding port 2222 to pod 5f, uid : failed to execute "
    b'portforward in network namespace "/var/run/netns/cni-1": failed to connect to localhost:2222 inside namespace '
    b'"5f", IPv4: dial tcp4 127.0.0.1:2222: connect: connection refused IPv6 dial tcp6 [::1]:2222: connect: connection '
    b"refused "
)


def test_the_first_dials_may_come_before_the_pods_sshd(pod: Pod, kubelet: Kubelet) -> None:
    """A pod counts as running a moment before its sshd listens: the kubelet then says so on the error channel."""
    dials = 0

    def starting(connection: ServerConnection) -> None:
        nonlocal dials
        dials += 1
        if dials > 2:
            kubelets.port_of(pod.sshd.port)(connection)
        else:
            connection.send(b"\1" + REFUSED)

    kubelet.pods["shadow"] = starting

    async def through(factory: Callable[[], asyncio.Protocol]) -> tuple[Any, Any]:
        return await dial(at(kubelet), "dev", "shadow", 2222, factory, timeout=5)

    with pod.answered_by(echo, dial=through) as tunnel:
        assert tunnel.probe(pod.ports[0]) < 5
    assert dials == 3
    assert [state.kind for state in pod.states] == ["up"]


def test_an_sshd_that_never_listens_is_given_up(pod: Pod, kubelet: Kubelet) -> None:
    kubelet.pods["shadow"] = lambda connection: connection.send(b"\1" + REFUSED)

    async def through(factory: Callable[[], asyncio.Protocol]) -> tuple[Any, Any]:
        return await dial(at(kubelet), "dev", "shadow", 2222, factory, timeout=5)

    started = time.monotonic()
    with (
        pytest.raises(TunnelLost, match="connection refused"),
        pod.tunnel(1, dial=through, timeouts=Timeouts(listen=1.0)),
    ):
        pass
    assert time.monotonic() - started < 5


def test_a_whole_tunnel_through_the_port_forward(pod: Pod, kubelet: Kubelet) -> None:
    kubelet.pods["shadow"] = kubelets.port_of(pod.sshd.port)

    async def through(factory: Callable[[], asyncio.Protocol]) -> tuple[Any, Any]:
        return await dial(at(kubelet), "dev", "shadow", 2222, factory, timeout=5)

    with pod.answered_by(echo, dial=through) as tunnel, call(pod.ports[0]) as caller:
        sending = threading.Thread(target=lambda: (send(caller, 20), caller.shutdown(socket.SHUT_WR)))
        sending.start()
        assert digest(caller) == expected(20)
        sending.join()
        assert tunnel.probe(pod.ports[1]) < 5
        del kubelet.pods["shadow"]
