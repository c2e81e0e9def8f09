"""`python -m ktpy_router`: reads the command line and the table, and becomes PID 1 of a router."""

from __future__ import annotations

import gc
import sys

from ktpy_router import launch
from ktpy_router.launch import CannotStart, Family, Role, Wish
from ktpy_router.settings import Settings, parse
from ktpy_router.table import BadTable, Table


def main() -> int:
    """Its exit code: 0 after a clean drain."""
    launch.hold_signals()
    gc.disable()  # until all is imported, a second of mitmproxy's; looking for garbage meanwhile takes a tenth more
    settings = parse(sys.argv[1:])
    launch.name_process("main")
    try:
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        table = settings.store.newest(warn=launch.say)
        return family(settings, table).tend()
    except (BadTable, CannotStart) as error:
        return launch.explain(error)


def family(settings: Settings, table: Table) -> Family:
    """Everything bound and imported, nothing forked yet."""
    sockets = launch.bind_all(settings, table)
    from ktpy_router import worker  # brings mitmproxy; a bad flag, table or port is told without it

    wish = Wish()
    launch.freeze()

    def run_worker(number: int) -> int:
        sockets.close_control()
        return worker.run(settings, number, table, sockets.ports)

    def run_control() -> int:
        from ktpy_router import control  # brings tornado, which the workers do not need

        sockets.close_ports()
        return control.run(settings, table, wish, sockets)

    def run_inspector() -> int:
        from ktpy_router import inspector  # most routers have none

        sockets.close_ports()
        sockets.close_control()
        return inspector.run(settings)

    workers = [Role(f"worker{n}", lambda n=n: run_worker(n), is_worker=True) for n in range(settings.workers)]  # type: ignore[misc]
    roles = [Role("control", run_control), *workers]
    return Family(roles, Role("inspect", run_inspector), wish, on_end=sockets.close_ports)


if __name__ == "__main__":
    sys.exit(main())
