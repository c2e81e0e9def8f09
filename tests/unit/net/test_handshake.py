"""The names that handshake.py takes from inside other libraries; the log-in itself is tests/loopback's."""

import inspect
import logging

import paramiko
import pytest
import sshtunnel

from ktpy.errors import TunnelLost
from ktpy.net import handshake
from ktpy.net.keys import SessionKeys
from ktpy.net.messages import KEXINIT, text

PLACES = {
    "sshtunnel.SSHTunnelForwarder": sshtunnel.SSHTunnelForwarder,
    "paramiko.Transport": paramiko.Transport,
}


class _Socket:
    _closed = False

    def settimeout(self, seconds: float | None) -> None: ...
    def close(self) -> None: ...


@pytest.mark.parametrize(("place", "name"), [(p, n) for p, names in handshake.PRIVATE.items() for n in names])
def test_what_we_use_of_other_libraries_insides_is_still_there(place: str, name: str) -> None:
    is_made = place == "paramiko.Transport()"
    thing: object = paramiko.Transport(_Socket()) if is_made else PLACES[place]  # type: ignore[arg-type]
    assert hasattr(thing, name), _gone(place, name)


def _gone(place: str, name: str) -> str:
    return f"{place}.{name} is gone in this version: ktpy/net/handshake.py needs another way, or setup.cfg a bound"


def _opening() -> object:
    keys = SessionKeys.make()
    return handshake.Handshake(keys, lambda _: None, timeout=1)._make_opening()


def test_paramiko_derives_keys_by_letter_and_size() -> None:
    """RFC 4253 §7.2: its own calls are what we listen to."""
    assert list(inspect.signature(paramiko.Transport._compute_key).parameters) == ["self", "id", "nbytes"]
    source = inspect.getsource(paramiko.Transport._activate_outbound)
    assert '_compute_key("A"' in source
    assert '_compute_key("C"' in source


def test_both_ciphers_have_the_names_that_paramiko_gives_them() -> None:
    transport = paramiko.Transport(_Socket())  # type: ignore[arg-type]
    transport.get_security_options().ciphers = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")


def test_the_users_own_ssh_settings_play_no_part() -> None:
    opening = _opening()
    assert (opening.ssh_username, opening.ssh_password) == ("tunnel", None)  # type: ignore[attr-defined]
    assert len(opening.ssh_pkeys) == 1  # type: ignore[attr-defined]
    assert opening._server_list == []  # type: ignore[attr-defined]


def test_what_paramiko_calls_an_error_is_a_detail(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("ktpy.net.ssh").error("Exception (client): …")
    assert caplog.records[0].levelno == logging.DEBUG


def test_what_the_other_side_says_is_logged_without_its_control_characters(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("ktpy.net.ssh").info("Disconnect (code %d): %s", 2, "\x1b[2J")
    assert caplog.messages == ["Disconnect (code 2): ?[2J"]


def _offer(cipher: str) -> bytes:
    """A whole packet, RFC 4253 §6 and §7.1: length, padding, type, cookie, ten lists of names, zeros."""
    lists = ["ecdh-sha2-nistp256", "ssh-ed25519", cipher, cipher, *["hmac-sha2-256"] * 2, *["none"] * 2, "", ""]
    payload = bytes([KEXINIT]) + bytes(16) + b"".join(text(names) for names in lists) + bytes(5)
    padding = 8 - (5 + len(payload)) % 8 + 8
    return (1 + len(payload) + padding).to_bytes(4, "big") + bytes([padding]) + payload + bytes(padding)


def test_why_the_server_hung_up_is_said_and_not_that_it_did() -> None:
    """sshd closes as soon as it has read our offer; its own may be unread by then."""
    opening = handshake.Handshake(SessionKeys.make(), lambda _: None, timeout=5)
    opening.feed(b"SSH-2.0-x\r\n" + _offer("chacha20-poly1305@openssh.com"))
    opening.lost(ConnectionResetError("closed by the other side"))
    with pytest.raises(TunnelLost, match="cipher"):
        opening.run()


def test_a_server_that_hangs_up_for_no_reason_has_cut_the_wire() -> None:
    opening = handshake.Handshake(SessionKeys.make(), lambda _: None, timeout=5)
    opening.feed(b"SSH-2.0-x\r\n" + _offer("aes256-gcm@openssh.com")[:-1])
    opening.lost(ConnectionResetError("closed by the other side"))
    with pytest.raises(TunnelLost, match="cut during the log-in: closed by the other side"):
        opening.run()
