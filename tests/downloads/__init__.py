"""Downloads, from a server that misbehaves on purpose."""
