//! The xenstore protocol (public/io/xs_wire.h), a client, and the daemon.
