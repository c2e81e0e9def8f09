from ktpy.cluster.endpoint import Endpoint
from ktpy.cluster.proxied import _request


def test_the_proxy_is_asked_for_the_api_server() -> None:
    where = Endpoint("api.example", 6443, "", None, None, dict)
    assert _request(where, None, None) == b"CONNECT api.example:6443 HTTP/1.1\r\nHost: api.example:6443\r\n\r\n"


def test_user_and_password_of_the_proxy_are_sent() -> None:
    where = Endpoint("fd00::1", 443, "", None, None, dict)
    lines = _request(where, "ana", "s%40fe").split(b"\r\n")
    assert lines[0] == b"CONNECT [fd00::1]:443 HTTP/1.1"
    assert lines[2] == b"Proxy-Authorization: Basic YW5hOnNAZmU="  # ana:s@fe
