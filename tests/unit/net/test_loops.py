import asyncio

from ktpy.net.loops import keep_freed_memory, new_loop


def test_a_loop_runs() -> None:
    async def one() -> int:
        return 1

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(one()) == 1


def test_without_uvloop_the_plain_loop_will_do(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    import sys

    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_loop()
    assert isinstance(loop, asyncio.SelectorEventLoop)
    loop.close()


def test_keeping_memory_keeps_none_itself() -> None:
    assert keep_freed_memory() is None  # type: ignore[func-returns-value]
