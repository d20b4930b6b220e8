"""How events reach endpoints: read, scheduled, rendered, signed, sent, and recorded."""
