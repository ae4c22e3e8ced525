//! What to do about an address that cannot be bound: said once, at the start, to whoever starts it.

use std::io::{self, ErrorKind};

/// What is wrong with listening on `addr`, and what to do.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system's own words do for the others")]
pub(super) fn advice(protocol: &str, addr: &str, error: &io::Error) -> String {
    let port = addr.rsplit_once(':').map_or("", |(_, port)| port);
    let key = format!("network.{protocol}.server.addr or `.listen(...)`");
    let what = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "the address is in use, by another program or by a copy of this one that has not ended; \
             `ss -ltnp 'sport = :{port}'` shows which; stop it, or choose another port with {key} (port \
             0 takes a free one)"
        ),
        ErrorKind::PermissionDenied => format!(
            "not permitted; ports below 1024 need the right to bind them (CAP_NET_BIND_SERVICE); choose \
             a port from 1024 on with {key}"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "no network interface of this machine has that address; `ip addr` lists those it has, and \
             :{port} listens on all of them; change it with {key}"
        ),
        ErrorKind::InvalidInput => {
            format!("not an address: write host:port, as 0.0.0.0:3553 or :3553, in {key}")
        }
        _ => format!("{error}; the address is set by {key}"),
    };
    format!("cannot listen on {addr} ({protocol}): {what}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_net::tcp;

    /// What a person reads who asks for this address.
    fn refused(addr: &str) -> String {
        advice("tcp", addr, &tcp::bind(addr).unwrap_err())
    }

    #[test]
    fn an_address_in_use_is_named_with_a_way_to_find_who_has_it() {
        let taken = tcp::bind("127.0.0.1:0").unwrap();
        let addr = taken.local_addr().unwrap();
        let text = refused(&addr.to_string());
        for part in [&addr.to_string(), "in use", "ss -ltnp", "network.tcp.server.addr"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn an_address_of_another_machine_is_told_from_one_in_use() {
        let text = refused("192.0.2.1:3553");
        assert!(text.contains("no network interface") && text.contains("192.0.2.1"), "{text}");
    }

    #[test]
    fn what_is_no_address_is_shown_how_to_write_one() {
        for addr in ["3553", "localhost", "127.0.0.1:ninety"] {
            let text = refused(addr);
            assert!(text.contains("host:port") && text.contains(addr), "{text}");
        }
    }

    #[test]
    fn a_port_that_needs_a_right_names_the_right() {
        let text = advice("ws", ":80", &ErrorKind::PermissionDenied.into());
        assert!(text.contains("CAP_NET_BIND_SERVICE") && text.contains("network.ws.server.addr"));
    }
}
