"""The request that opens a port-forward; the stream itself is tests/loopback/test_loopback_forward.py's."""

from ktpy.cluster.endpoint import Endpoint
from ktpy.cluster.forward import _upgrade


def endpoint(path: str = "", host: str = "api.example") -> Endpoint:
    return Endpoint(host, 6443, path, None, None, dict)


def request(where: Endpoint) -> list[str]:
    socket = _upgrade(where, "dev", "shop-kt", 2222, {"Authorization": "Bearer t0ken"})
    (raw,) = socket.data_to_send()
    return raw.decode().split("\r\n")


def test_the_request_is_a_websocket_upgrade_of_pods_portforward() -> None:
    lines = request(endpoint())
    assert lines[0] == "GET /api/v1/namespaces/dev/pods/shop-kt/portforward?ports=2222 HTTP/1.1"
    assert "Host: api.example:6443" in lines
    assert "Upgrade: websocket" in lines
    assert "Sec-WebSocket-Protocol: v4.channel.k8s.io" in lines
    assert "Authorization: Bearer t0ken" in lines


def test_a_path_prefix_stands_before_all() -> None:
    assert request(endpoint("/k8s/clusters/c-1/"))[0].startswith("GET /k8s/clusters/c-1/api/v1/namespaces/dev/")


def test_an_ipv6_host_is_bracketed() -> None:
    assert "Host: [fd00::1]:6443" in request(endpoint(host="fd00::1"))
