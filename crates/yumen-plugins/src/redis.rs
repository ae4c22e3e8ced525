//! Locations of users in Redis, as due v2.5 writes them there.
