"""What those who share a router are refused because of each other: the same requests twice, or a link port too many."""

from __future__ import annotations

from ktpy import undo
from ktpy.errors import Taken
from ktpy.kt import Kt
from ktpy.model import routes
from ktpy.model.front import Front
from ktpy.model.names import SessionId
from ktpy.model.routes import Routes
from ktpy_router.table import Row


def same_mark(kt: Kt, front: Front, row: Row) -> Taken:
    """The refusal: whose the requests are already."""
    holder = undo.holder_named(kt.cluster, SessionId(row.owner))
    if not row.conditions:
        return Taken(
            f"{front.ref} is held by {holder}.",
            [
                f"ktpy mesh {front.name}      only marked requests, beside it",
                f"ask {holder.owner} to stop it",
                f"ktpy recover {front.name} --force      ends it against the owner's will",
            ],
        )
    return Taken(
        f"Requests to {front.ref} with mark '{row.mark}' go to {holder} already.",
        [f"ktpy mesh {front.name} --version-mark ANOTHER", f"ask {holder.owner} to stop it"],
    )


def no_link_port(front: Front, found: Routes) -> Taken:
    """The refusal of a share link where its router has no port left for it."""
    without = f"ktpy mesh {front.name}      without --link"
    if not found.ports.links:
        return Taken(
            f"The router of {front.ref} was set up by a ktpy ({found.ktpy}) that knew no share links.",
            f"{without}, until all who use it have left once",
        )
    who = ", ".join(sorted({row.owner for row in found.table.rows if routes.is_links(row)}))
    return Taken(f"All {len(found.ports.links)} link ports of the router of {front.ref} are in use, by {who}.", without)
