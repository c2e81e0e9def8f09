"""Builds the sample shop's image and the one with the tests' peers, and loads them: image.py KIND[:NAME].

KIND and NAME are those of `ktpy images load --cluster`.
"""

import os
import sys

from ktpy.errors import KtError
from ktpy.laptop import builder, image_load, image_tools
from ktpy.model.image import Image

SHOP = builder.Order(Image("ktpy-shop", "ktpy_shop", "scripts/shop"), "localhost/ktpy-shop:1")
PEERS = builder.Order(
    Image("ktpy-peers", "ktpy_peers", "tests/e2e/peers"), "localhost/ktpy-peers:1", base=SHOP.reference
)


def say(line: str) -> None:
    print(line, file=sys.stderr)


def main(cluster: str) -> None:
    cache = builder.cache_folder(os.environ)
    tool = image_tools.find_tool(None, cache)
    where = image_load.cluster_named(cluster)
    for order in (SHOP, PEERS):
        archive = cache / f"{order.image.name}-1.tar"
        builder.build(tool, order, cache=cache, say=say)
        builder.save(tool, order.reference, archive, say=say)
        image_load.load(where, archive, script=image_load.cluster_script(os.environ), say=say)


try:
    main(sys.argv[1])
except KtError as error:
    sys.exit("\n".join(["Error: " + error.what, *error.try_]))
