"""What keeps a shared cluster tidy: recover, clean, birdseye, status, doctor."""
