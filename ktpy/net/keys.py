"""The keys of one session: made fresh, never written to the laptop's disk, thrown away with the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

COMMENT = "ktpy"


@dataclass(frozen=True)
class SessionKeys:
    """CLIENT_PRIVATE stays in memory; HOST_PRIVATE and the authorized line go into the shadow pod's Secret."""

    client_private: str = field(repr=False)
    client_public: str
    host_private: str = field(repr=False)
    host_public: str

    @classmethod
    def make(cls) -> SessionKeys:
        """A client key and a host key, both Ed25519, as OpenSSH writes them."""
        client, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        return cls(_private_text(client), _public_text(client), _private_text(host), _public_text(host))

    def authorized_line(self, ports: Sequence[int]) -> str:
        """The one line of authorized_keys: this key may listen on PORTS, reach out, and do nothing else.

        sshd(8), AUTHORIZED_KEYS: a bare port means "*:port", so the client chooses the address it listens on.
        Without any permitlisten every port would be allowed, and "none" is no legal value here: where no ports are
        wanted, one that harms nobody stands for none.
        """
        may_listen = ",".join(f'permitlisten="{port}"' for port in ports) or 'permitlisten="localhost:1"'
        return f"restrict,port-forwarding,{may_listen} {self.client_public} {COMMENT}"


def _private_text(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode("ascii")


def _public_text(key: Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
