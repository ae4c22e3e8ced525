//! Addresses of links, as texts: what is written, what is bound, what is announced.
//!
//! Pure: what the machine's own addresses are comes in as an argument.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// Host and port of `host:port`.
pub(super) fn split(addr: &str) -> Option<(&str, u16)> {
    let (host, port) = addr.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

/// Whether others can dial it: a host, and not every address at once.
pub(super) fn is_dialled(addr: &str) -> bool {
    let Some((host, _)) = split(addr) else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_every = bare.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    !host.is_empty() && !is_every
}

/// The port of instance `index` where the first has `port`; 0 stays any.
pub(super) fn behind(port: u16, index: u16) -> u16 {
    if port == 0 { 0 } else { port.saturating_add(index) }
}

/// The address of instance `index` where the first has `addr`. What is no address stays as it is.
pub(super) fn shifted(addr: &str, index: u16) -> String {
    match split(addr) {
        Some((host, port)) => format!("{host}:{}", behind(port, index)),
        None => addr.to_owned(),
    }
}

/// What others are told to dial.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Announced {
    pub(super) endpoint: String,
    pub(super) warning: Option<String>,
}

/// What is announced of a listener at `local` that was asked for under the name `host`. `sources` are the
/// addresses of this machine, best first; they are only looked at where nothing else says who it is.
pub(super) fn announced(
    host: &str,
    local: SocketAddr,
    advertise: Option<(&str, u16)>,
    sources: impl FnOnce() -> Vec<Ipv4Addr>,
) -> Announced {
    let endpoint = |addr: String| format!("drpc://{addr}?is_secure=false");
    let port = local.port();
    if let Some((host, advertised)) = advertise {
        let port = if advertised == 0 { port } else { advertised };
        return Announced { endpoint: endpoint(format!("{host}:{port}")), warning: None };
    }
    if !local.ip().is_unspecified() {
        // A name stays one: others may know it by another address.
        let named = !host.is_empty() && host.parse::<IpAddr>().is_err() && !host.starts_with('[');
        let addr = if named { format!("{host}:{port}") } else { local.to_string() };
        return Announced { endpoint: endpoint(addr), warning: None };
    }
    let sources = sources();
    let own = private(&sources);
    let warning = own.is_none().then(|| {
        format!(
            "this machine has no private IPv4 address, so 127.0.0.1:{port} is announced, which only this \
             machine can dial; write what others dial into yumen.gate.advertise or yumen.node.advertise"
        )
    });
    let own = own.unwrap_or(Ipv4Addr::LOCALHOST);
    Announced { endpoint: endpoint(format!("{own}:{port}")), warning }
}

/// The address that others in the same private network dial: the first in 192.168.0.0/16, or else the first
/// private one.
fn private(sources: &[Ipv4Addr]) -> Option<Ipv4Addr> {
    let is_small = |ip: &&Ipv4Addr| ip.octets().starts_with(&[192, 168]);
    let first = sources.iter().find(is_small);
    first.or_else(|| sources.iter().find(|ip| ip.is_private())).copied()
}

/// What is wrong with listening on `addr`, and what to do; `key` is where the address is said.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system's own words do for the others")]
pub(super) fn advice(addr: &str, key: &str, error: &io::Error) -> String {
    let port = addr.rsplit_once(':').map_or("", |(_, port)| port);
    let what = match error.kind() {
        ErrorKind::AddrInUse => format!(
            "the address is in use, by another program or by a copy of this one that has not ended; \
             `ss -ltnp 'sport = :{port}'` shows which; stop it, or choose another port with {key} (port \
             0 takes a free one)"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "no network interface of this machine has that address; listen on one it has, and write what \
             others dial into yumen.gate.advertise or yumen.node.advertise; the address is set by {key}"
        ),
        ErrorKind::InvalidInput => {
            format!("not an address: write host:port, as 10.0.0.7:4000 or :0, in {key}")
        }
        _ => format!("{error}; the address is set by {key}"),
    };
    format!("cannot listen on {addr} (links): {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is announced by a listener on port 4000 of every interface.
    fn of(sources: &[[u8; 4]]) -> Announced {
        let sources = sources.iter().map(|octets| Ipv4Addr::from(*octets)).collect();
        announced("", ([0, 0, 0, 0], 4000).into(), None, || sources)
    }

    #[test]
    fn w27_a_host_without_a_private_address_starts_and_says_so() {
        for sources in [&[][..], &[[203, 0, 113, 7]][..]] {
            let announced = of(sources);
            assert_eq!(announced.endpoint, "drpc://127.0.0.1:4000?is_secure=false");
            assert!(announced.warning.unwrap().contains("yumen.gate.advertise"));
        }
    }

    #[test]
    fn of_several_addresses_a_private_one_is_announced() {
        for (sources, expected) in [
            (&[[203, 0, 113, 7], [10, 1, 2, 3]][..], "10.1.2.3"),
            (&[[172, 16, 0, 1], [192, 168, 7, 7]][..], "192.168.7.7"),
            (&[[10, 1, 2, 3], [172, 16, 0, 1]][..], "10.1.2.3"),
        ] {
            let announced = of(sources);
            assert_eq!(announced.endpoint, format!("drpc://{expected}:4000?is_secure=false"));
            assert_eq!(announced.warning, None);
        }
    }

    #[test]
    fn what_is_written_is_announced_and_the_machine_is_not_asked() {
        let nobody = || -> Vec<Ipv4Addr> { panic!("asked") };
        let endpoint = |host: &str, local: [u8; 4], advertise: Option<(&str, u16)>| {
            announced(host, (local, 4000).into(), advertise, nobody).endpoint
        };
        let whole = |addr: &str| format!("drpc://{addr}?is_secure=false");
        assert_eq!(endpoint("127.0.0.1", [127, 0, 0, 1], None), whole("127.0.0.1:4000"));
        assert_eq!(endpoint("node-7.lan", [10, 0, 0, 7], None), whole("node-7.lan:4000"));
        assert_eq!(endpoint("", [0, 0, 0, 0], Some(("me", 0))), whole("me:4000"));
        assert_eq!(endpoint("", [0, 0, 0, 0], Some(("me", 9))), whole("me:9"));
        let v6 = announced("[::1]", "[::1]:4000".parse().unwrap(), None, nobody);
        assert_eq!(v6.endpoint, whole("[::1]:4000"));
    }

    #[test]
    fn further_instances_take_the_ports_behind_a_fixed_one() {
        assert_eq!(shifted("10.0.0.7:4000", 0), "10.0.0.7:4000");
        assert_eq!(shifted("10.0.0.7:4000", 3), "10.0.0.7:4003");
        assert_eq!(shifted(":0", 3), ":0");
        assert_eq!(shifted("nonsense", 3), "nonsense");
    }
}
