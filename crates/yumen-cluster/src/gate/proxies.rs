//! Load balancers and proxies before a gate: who is believed when it says who a client is.
//!
//! Only lists of addresses; who reads what they say is `yumen_net::acceptor` and `yumen_net::ws`.

use super::{hall::Hall, sessions::Session};
use std::{net::SocketAddr, sync::Arc};
use yumen_net::block::NetBlock;
use yumen_proto::{conn::CloseReason, id::ConnId};

/// What is said of those before a listener, as texts: in code, or else in the settings.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub(super) proxy_protocol: Option<Vec<String>>,
    pub(super) forwarded_for: Option<Vec<String>>,
}

impl Named {
    /// What code leaves open is as in the settings.
    pub(super) fn or(self, written: Self) -> Self {
        Self {
            proxy_protocol: self.proxy_protocol.or(written.proxy_protocol),
            forwarded_for: self.forwarded_for.or(written.forwarded_for),
        }
    }
}

/// Who is before a listener.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    /// Their connections begin with a PROXY header.
    pub(super) balancers: Arc<[NetBlock]>,
    /// They say in `X-Forwarded-For` who the client is.
    pub(super) forwarders: Arc<[NetBlock]>,
    pub(super) problems: Vec<String>,
}

impl Proxies {
    /// Reads the lists of a listener of that protocol; what is no address becomes a problem.
    pub(super) fn read(named: Named, protocol: &str) -> Self {
        let mut problems = Vec::new();
        let mut blocks = |texts: Option<Vec<String>>, key: &str| -> Arc<[NetBlock]> {
            let read = texts.unwrap_or_default().into_iter().map(|text| text.parse());
            let ok = |block: Result<NetBlock, _>| {
                let problem = |error| format!("yumen.gate.{protocol}.{key}: {error}");
                block.map_err(|error| problems.push(problem(error))).ok()
            };
            read.filter_map(ok).collect()
        };
        let balancers = blocks(named.proxy_protocol, "proxyProtocol");
        let forwarders = blocks(named.forwarded_for, "forwardedFor");
        Self { balancers, forwarders, problems }
    }
}

impl Hall {
    /// The handshake of a connection is over: it is its client's from here on, where a proxy has named one,
    /// and counts at that address. False if the address has as many as it may have; it is closed then.
    pub(super) fn is_let_in(&self, conn: ConnId) -> bool {
        let client = self.driver.take_client(conn);
        let admitted = self.driver.with(conn, |_, _, session| session.comes_from(client));
        if admitted == Some(false) {
            self.driver.close(conn, CloseReason::Limit, "too many connections from one address");
            return false;
        }
        true
    }
}

impl Session {
    /// Whether the address, another one than so far if a proxy has named it, may have this connection.
    fn comes_from(&mut self, client: Option<SocketAddr>) -> bool {
        self.peer = client.unwrap_or(self.peer);
        let ip = self.peer.ip();
        self.permit.as_mut().is_none_or(|permit| permit.count_at(ip).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_a_problem_with_its_key() {
        let named = Named {
            proxy_protocol: Some(vec!["10.0.0.0/8".to_owned(), "lb.example".to_owned()]),
            forwarded_for: Some(vec!["10.0.0.0/99".to_owned()]),
        };
        let Proxies { balancers, forwarders, problems } = Proxies::read(named, "ws");
        assert_eq!((balancers.len(), forwarders.len()), (1, 0));
        assert!(
            problems[0].starts_with("yumen.gate.ws.proxyProtocol: `lb.example`"),
            "{problems:?}"
        );
        assert!(
            problems[1].starts_with("yumen.gate.ws.forwardedFor: `10.0.0.0/99`"),
            "{problems:?}"
        );
    }

    #[test]
    fn what_code_says_of_proxies_comes_before_the_settings() {
        let some = |text: &str| Some(vec![text.to_owned()]);
        let code = Named { proxy_protocol: some("10.0.0.1"), forwarded_for: None };
        let written = Named { proxy_protocol: some("10.0.0.2"), forwarded_for: some("10.0.0.3") };
        let both = code.or(written);
        assert_eq!((both.proxy_protocol, both.forwarded_for), (some("10.0.0.1"), some("10.0.0.3")));
    }
}
