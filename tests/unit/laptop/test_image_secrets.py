"""A build is given what it can take and this machine has, and nothing else."""

from pathlib import Path

import pytest

from ktpy.laptop import builder
from ktpy.laptop.image_secrets import authority, pip_conf, secret_words
from ktpy.model.image import IMAGES

ROUTER = "RUN --mount=type=secret,id=pip-ca --mount=type=secret,id=pip-conf pip install x"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "ca.pem").touch()
    (tmp_path / "pip.conf").write_text(f"[global]\ncert = {tmp_path}/ca.pem\nindex-url = https://a:100%@x/\n")
    return tmp_path


def test_configuration_and_authority_are_given_as_secrets(home):
    environ = {"PIP_CONFIG_FILE": f"{home}/pip.conf", "PIP_CERT": f"{home}/ca.pem"}

    assert secret_words(ROUTER, environ, home) == (
        *("--secret", f"id=pip-ca,src={home}/ca.pem"),
        *("--secret", f"id=pip-conf,src={home}/pip.conf"),
    )


def test_a_dockerfile_that_takes_none_is_given_none(home):
    assert secret_words("RUN pip install x", {"PIP_CERT": f"{home}/ca.pem"}, home) == ()


@pytest.mark.parametrize("name", ["PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_the_authority_is_the_environments(home, name):
    assert authority({name: f"{home}/ca.pem", "PIP_CONFIG_FILE": "/none"}, home) == home / "ca.pem"


def test_or_the_configurations(home):
    assert authority({"PIP_CONFIG_FILE": f"{home}/pip.conf"}, home) == home / "ca.pem"


def test_what_is_named_and_not_there_is_not_given(home):
    (home / "pip.conf").write_text("nonsense")

    assert authority({"PIP_CERT": "/none", "PIP_CONFIG_FILE": f"{home}/pip.conf"}, home) is None
    assert pip_conf({"PIP_CONFIG_FILE": "/none"}, home) is None


def test_the_users_own_configuration_comes_first(home):
    place = home / ".config" / "pip" / "pip.conf"
    place.parent.mkdir(parents=True)
    place.touch()

    assert pip_conf({}, home) == place
    assert pip_conf({"XDG_CONFIG_HOME": str(place.parents[1])}, home / "elsewhere") == place


def test_the_router_can_take_them_and_the_shadow_needs_none():
    environ = {"PIP_CERT": __file__, "PIP_CONFIG_FILE": __file__}

    assert len(secret_words(builder.dockerfile(IMAGES["router"]), environ, Path("/"))) == 4
    assert secret_words(builder.dockerfile(IMAGES["shadow"]), environ, Path("/")) == ()
