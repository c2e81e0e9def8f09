import asyncio

import pytest

from ktpy.errors import TunnelLost
from ktpy.net.echo import MOST, SIZE, Asking, Echo, Held
from tests.unit.net.fakes import FakeTransport


def test_a_word_that_comes_back_is_an_answer() -> None:
    async def main() -> None:
        asking, stream = Asking(), FakeTransport()
        asking.connection_made(stream)
        word = stream.taken()
        assert len(word) == SIZE
        asking.data_received(word[:3])
        assert not asking.heard.done()
        asking.data_received(word[3:])
        await asking.heard

    asyncio.run(main())


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n......", b""])
def test_anything_else_is_none(answer: bytes) -> None:
    async def main() -> None:
        asking = Asking()
        asking.connection_made(FakeTransport())
        if answer:
            asking.data_received(answer)
        asking.connection_lost(None)
        with pytest.raises(TunnelLost, match="probe"):
            await asking.heard

    asyncio.run(main())


class Case:
    def __init__(self) -> None:
        self.words, self.passed = [b"abcd"], list[tuple[bytes, bool]]()
        self.stream = FakeTransport()
        self.held = Held(lambda: self.words, lambda _, got, has_eof: self.passed.append((got, has_eof)))
        self.held.connection_made(self.stream)


def test_our_own_word_is_echoed() -> None:
    case = Case()
    case.held.data_received(b"ab")
    case.held.data_received(b"cd")
    assert (case.stream.written, case.stream.calls, case.passed) == (b"abcd", ["eof"], [])


def test_other_bytes_go_on_to_the_laptop() -> None:
    case = Case()
    case.held.data_received(b"a")
    case.held.data_received(b"?")
    assert (case.passed, case.stream.calls) == ([(b"a?", False)], ["pause"])


def test_a_fin_goes_on_to_the_laptop() -> None:
    case = Case()
    assert case.held.eof_received()
    assert case.passed == [(b"", True)]


def test_when_the_probe_has_ended_nobody_is_held() -> None:
    case = Case()
    case.words = []
    case.held.judge()
    assert case.passed == [(b"", False)]


def test_one_that_hung_up_is_forgotten() -> None:
    case = Case()
    case.held.connection_lost(None)
    case.held.judge()
    assert case.passed == []


def test_a_pulse_is_answered_and_a_flood_is_not() -> None:
    echo, stream = Echo(), FakeTransport()
    echo.connection_made(stream)
    echo.data_received(b".")
    assert stream.taken() == b"."
    echo.data_received(b"." * (MOST + 1))
    assert (stream.taken(), stream.is_closing()) == (b"", True)
