"""No sockets here: an address that no machine can have fails before one is opened."""

from ktpy.net.probe import listens


def test_an_address_that_cannot_be_is_silent() -> None:
    assert not listens("256.256.256.256", 1, 100.0)
