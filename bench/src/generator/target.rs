//! Where the load goes: `host:port`, `tcp://host:port` or `ws://host:port/path`.
//!
//! The name is resolved once, when the text is parsed.
use std::fmt::{self, Display, Formatter};
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// A server to be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    address: SocketAddr,
    web: Option<Web>,
}

/// What a WebSocket handshake has to name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Web {
    pub(crate) host: String,
    pub(crate) path: String,
}

/// Why a text is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It starts with another scheme than `tcp` or `ws`.
    #[error("scheme {scheme:?} is not tcp or ws")]
    Scheme {
        /// What was found before `://`.
        scheme: String,
    },
    /// The host is unknown, or the port is missing.
    #[error("{host:?} is not a host:port that resolves")]
    Host {
        /// What was found where a host and a port belong.
        host: String,
    },
}

impl Target {
    /// The same server over tcp.
    pub fn tcp(address: SocketAddr) -> Self {
        Self { address, web: None }
    }

    /// The same server over WebSocket, at path `/`.
    pub fn web(address: SocketAddr) -> Self {
        Self { address, web: Some(Web { host: address.to_string(), path: "/".to_owned() }) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn handshake(&self) -> Option<&Web> {
        self.web.as_ref()
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) => (host, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        let web = match scheme {
            "tcp" => None,
            "ws" => Some(Web { host: host.to_owned(), path }),
            _ => return Err(TargetError::Scheme { scheme: scheme.to_owned() }),
        };
        let found = host.to_socket_addrs().ok().and_then(|mut found| found.next());
        let address = found.ok_or_else(|| TargetError::Host { host: host.to_owned() })?;
        Ok(Self { address, web })
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.web {
            None => write!(f, "tcp://{}", self.address),
            Some(web) => write!(f, "ws://{}{}", web.host, web.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_and_a_port_with_or_without_a_scheme() {
        let plain: Target = "127.0.0.1:3553".parse().unwrap();
        assert_eq!(plain, "tcp://127.0.0.1:3553".parse().unwrap());
        assert_eq!(plain.to_string(), "tcp://127.0.0.1:3553");
        let web: Target = "ws://127.0.0.1:80/a/b".parse().unwrap();
        assert_eq!(web.to_string(), "ws://127.0.0.1:80/a/b");
        assert_eq!(
            "ws://127.0.0.1:80".parse::<Target>().unwrap().to_string(),
            "ws://127.0.0.1:80/"
        );
    }

    #[test]
    fn what_is_no_target_says_why() {
        let scheme = "udp://127.0.0.1:1".parse::<Target>().unwrap_err();
        assert_eq!(scheme, TargetError::Scheme { scheme: "udp".into() });
        let host = "127.0.0.1".parse::<Target>().unwrap_err();
        assert_eq!(host, TargetError::Host { host: "127.0.0.1".into() });
    }
}
