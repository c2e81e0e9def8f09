"""The limits hang together."""

from __future__ import annotations

from ktpy_router.config import Config


def test_limits_that_depend_on_each_other() -> None:
    config = Config()

    assert config.linger_seconds < config.drain_seconds
    assert config.replay_bytes <= config.buffer_bytes
    assert config.eager_seconds < config.sniff_seconds
    assert config.stays_seconds < config.probe_seconds
