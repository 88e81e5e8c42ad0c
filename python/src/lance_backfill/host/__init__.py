"""The host's side of the protocol that `docs/host-protocol.md` describes."""
