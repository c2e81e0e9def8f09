import io

from paramiko import Ed25519Key

from ktpy.net.keys import SessionKeys


def test_each_session_has_its_own_keys() -> None:
    one, two = SessionKeys.make(), SessionKeys.make()
    assert len({one.client_private, one.host_private, two.client_private, two.host_private}) == 4


def test_private_keys_are_openssh_text_and_fit_the_public_ones() -> None:
    keys = SessionKeys.make()
    for private, public in ((keys.client_private, keys.client_public), (keys.host_private, keys.host_public)):
        assert private.startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
        key = Ed25519Key.from_private_key(io.StringIO(private))
        assert public == f"ssh-ed25519 {key.get_base64()}"


def test_the_authorized_line_allows_forwards_on_these_ports_only() -> None:
    keys = SessionKeys.make()
    assert keys.authorized_line([8080, 9090]) == (
        f'restrict,port-forwarding,permitlisten="8080",permitlisten="9090" {keys.client_public} ktpy'
    )


def test_without_ports_nothing_may_be_listened_on() -> None:
    assert 'permitlisten="localhost:1"' in SessionKeys.make().authorized_line([])


def test_private_keys_are_not_shown() -> None:
    assert "PRIVATE" not in repr(SessionKeys.make())
