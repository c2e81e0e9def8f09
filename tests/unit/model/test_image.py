"""An image has one name, wherever it is looked at."""

import pytest

from ktpy.errors import Usage
from ktpy.model.image import IMAGES, file_name, reference


@pytest.mark.parametrize(
    ("prefix", "version", "expected"),
    [
        ("", "0.1.0", "localhost/ktpy-shadow:0.1.0"),
        ("registry.example/team", "0.1.0", "registry.example/team/ktpy-shadow:0.1.0"),
        ("registry.example:5000/team/", "0.1.0", "registry.example:5000/team/ktpy-shadow:0.1.0"),
        ("localhost:5001", "0.2.0.dev3+g12ab", "localhost:5001/ktpy-shadow:0.2.0.dev3-g12ab"),
    ],
)
def test_a_reference_is_place_name_and_version(prefix, version, expected):
    assert reference(prefix, IMAGES["shadow"].name, version) == expected


@pytest.mark.parametrize("prefix", ["registry.example/Team", "a b", "registry.example/x:1", "https://registry.example"])
def test_a_place_that_no_registry_can_have_is_refused(prefix):
    with pytest.raises(Usage, match="no place for images"):
        reference(prefix, "ktpy-shadow", "0.1.0")


def test_an_archive_is_named_after_its_image():
    assert file_name("ktpy-shadow", "0.1.0+dirty") == "ktpy-shadow-0.1.0-dirty.tar"
