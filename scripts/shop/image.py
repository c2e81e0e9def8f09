"""Builds the sample shop's image and loads it: image.py KIND[:NAME], as in `ktpy images load --cluster`."""

import os
import sys

from ktpy.errors import KtError
from ktpy.laptop import builder, image_load, image_tools
from ktpy.model.image import Image

NAME = "localhost/ktpy-shop:1"
SHOP = Image("ktpy-shop", "ktpy_shop", "scripts/shop")


def say(line: str) -> None:
    print(line, file=sys.stderr)


def main(cluster: str) -> None:
    cache = builder.cache_folder(os.environ)
    tool = image_tools.find_tool(None, cache)
    archive = cache / "ktpy-shop-1.tar"
    builder.build(tool, builder.Order(SHOP, NAME), cache=cache, say=say)
    builder.save(tool, NAME, archive, say=say)
    where = image_load.cluster_named(cluster)
    image_load.load(where, archive, script=image_load.cluster_script(os.environ), say=say)


try:
    main(sys.argv[1])
except KtError as error:
    sys.exit("\n".join(["Error: " + error.what, *error.try_]))
