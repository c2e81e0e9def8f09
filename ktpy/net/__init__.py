"""Protocols on sockets: SSH, relays, probes; the only folder that speaks them."""
