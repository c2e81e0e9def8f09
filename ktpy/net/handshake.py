"""Opens an SSH session with sshtunnel and hands it over, keys and all; the only file that knows its insides."""

from __future__ import annotations

import io
import logging
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import paramiko
from paramiko.ssh_exception import IncompatiblePeer
from sshtunnel import SSHTunnelForwarder

from ktpy.errors import KtError, TunnelLost
from ktpy.net.cipher import KEY_SIZE, Opener, Sealer, message
from ktpy.net.keys import SessionKeys
from ktpy.net.messages import USERAUTH_FAILURE, printable
from ktpy.net.valve import Valve

# What is used here beyond the documented interfaces; tests/unit/net/test_handshake.py holds every name against them.
PRIVATE = {
    "sshtunnel.SSHTunnelForwarder": ("_get_transport", "_connect_to_gateway"),
    "paramiko.Transport": ("_compute_key",),
    "paramiko.Transport()": ("session_id", "local_version", "remote_version", "local_cipher"),
}
USER = "tunnel"


@dataclass(frozen=True)
class Session:
    """An open, authenticated SSH session that nobody else uses any more."""

    sealer: Sealer
    opener: Opener
    cipher: str
    session_id: bytes
    host_key: bytes
    our_version: bytes
    their_version: bytes


class _Quiet(logging.Filter):
    """paramiko calls each failed attempt an ERROR; here it is a detail, for the failure is raised.

    Its lines also hold what the other side said, word for word.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage(), most=2000), None
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return True


log = logging.getLogger(__name__)
_library_log = logging.getLogger("ktpy.net.ssh")
_library_log.addFilter(_Quiet())


class _Opening(SSHTunnelForwarder):  # type: ignore[misc]  # sshtunnel has no types
    """sshtunnel's way to its gateway, with AES-GCM only and time limits; it never gets to its own forwards."""

    timeout = 15.0
    secrets: dict[str, bytes]
    transport: Any = None

    def _get_transport(self) -> paramiko.Transport:
        transport: Any = super()._get_transport()
        self.secrets = _recorded(transport)
        # Public, but no argument of sshtunnel's leads there. The pump speaks AES-GCM and nothing else.
        transport.get_security_options().ciphers = tuple(KEY_SIZE)
        transport.set_log_channel(_library_log.name)
        transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = self.timeout
        self.transport = transport
        return cast(paramiko.Transport, transport)

    def open(self) -> Any:
        """Connect and log in. sshtunnel logs some failures and returns, so the transport is asked."""
        self._connect_to_gateway()
        if not self.transport.is_authenticated():
            raise paramiko.AuthenticationException("not authenticated")
        return self.transport

    def close_transport(self) -> None:
        if self.transport is not None:
            self.transport.close()
            if self.transport.is_alive():
                self.transport.join(self.timeout)


class Handshake:
    """Blocking log-in over bytes that an event loop moves: feed(), lost() and stop() on the loop, run() in a thread."""

    def __init__(self, keys: SessionKeys, send: Callable[[bytes], None], *, user: str = USER, timeout: float) -> None:
        self._keys = keys
        self._user = user
        self._timeout = timeout
        self._opener: Opener | None = None
        self._opening: _Opening | None = None
        self._was_refused = False
        self._valve = Valve(send, self._look)
        self.feed = self._valve.feed
        self.lost = self._valve.lost
        self.stop = self._valve.shut
        self.rest = self._valve.rest

    def run(self) -> Session:
        """Errors: TunnelLost that says what failed: the wire, the host key, our key, or the peer's SSH."""
        opening = self._opening = self._make_opening()
        try:
            transport = opening.open()
            return self._take_over(transport)
        except paramiko.AuthenticationException as error:
            raise self._failure(_REFUSED) from error
        except IncompatiblePeer as error:
            raise TunnelLost(f"what answers in the shadow pod is not our sshd: {printable(str(error))}") from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            wrong = "Bad host key" in str(error) or "verification" in str(error)
            said = printable(str(error)) or "it hung up"
            what = _WRONG_HOST if wrong else f"the shadow pod's sshd did not let us in: {said}"
            raise self._failure(what) from error
        finally:
            self._valve.shut()
            opening.close_transport()

    def _make_opening(self) -> _Opening:
        host_type, host_blob = self._keys.host_public.split()[:2]
        opening = _Opening(
            ("shadow", 22),
            ssh_config_file=None,
            ssh_host_key=paramiko.PKey.from_type_string(host_type, b64decode(host_blob)),
            ssh_pkey=paramiko.Ed25519Key.from_private_key(io.StringIO(self._keys.client_private)),
            ssh_proxy=self._valve,
            ssh_username=self._user,
            remote_bind_address=("127.0.0.1", 1),  # it insists on one; no listener is ever opened for it
            set_keepalive=0,
            allow_agent=False,
            host_pkey_directories=[],
            compression=False,
            logger=_library_log,
        )
        opening.timeout = self._timeout
        return opening

    def _failure(self, what: str) -> KtError:
        """A wire that ends at the same moment hides no reason: paramiko's thread may read that end before we look."""
        why = self._valve.why
        if why is None or what is _WRONG_HOST or self._was_refused:
            return TunnelLost(what)
        return why if isinstance(why, KtError) else TunnelLost(f"{_CUT}: {why}")

    def _look(self, packet: bytes) -> int:
        """The type of a sealed packet. Runs in paramiko's thread, which has derived the keys by now."""
        assert self._opening is not None
        if self._opener is None:
            secrets = self._opening.secrets
            self._opener = Opener(secrets["D"], secrets["B"])
        (plain,) = self._opener.feed(packet)
        kind = message(plain)[0]
        self._was_refused = self._was_refused or kind == USERAUTH_FAILURE
        return kind

    def _take_over(self, transport: Any) -> Session:
        """TRANSPORT is paramiko's, untyped because half of what is read here is not in its types."""
        self._valve.shut()
        assert self._opener is not None
        assert self._opening is not None
        secrets = self._opening.secrets
        return Session(
            sealer=Sealer(secrets["C"], secrets["A"], used=self._valve.sent_sealed),
            opener=self._opener,
            cipher=transport.local_cipher,
            session_id=transport.session_id,
            host_key=transport.get_remote_server_key().asbytes(),
            our_version=transport.local_version.encode(),
            their_version=transport.remote_version.encode(),
        )


_CUT = "the wire to the shadow pod was cut during the log-in"
_REFUSED = "the shadow pod's sshd refused this session's key"
_WRONG_HOST = "what answers in the shadow pod is not our sshd: its host key is another"


def _recorded(transport: Any) -> dict[str, bytes]:
    """The secrets of RFC 4253 §7.2 as paramiko derives them, by letter; it forgets what they are derived from.

    A and B are the first IVs, C and D the keys, client to server and back.
    """
    secrets: dict[str, bytes] = {}
    derive = transport._compute_key

    def recording(letter: str, size: int) -> bytes:
        secrets[letter] = secret = derive(letter, size)
        return cast(bytes, secret)

    transport._compute_key = recording
    return secrets
