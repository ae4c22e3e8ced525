//! Where a client connects: the text a user writes, taken apart.
//!
//! Nothing is resolved or dialled here. What is let through is safe to write into a request line:
//! no spaces, no control characters, nothing outside ASCII.

/// A gate's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// `host:port`.
    pub(super) host: String,
    /// The path of a WebSocket; `None` is plain TCP.
    pub(super) path: Option<String>,
    /// Under TLS.
    pub(super) secure: bool,
}

/// The port of a WebSocket address that names none.
const WS_PORT: u16 = 80;
const WSS_PORT: u16 = 443;

impl Target {
    /// Reads `tcp://host:port`, `host:port` or `ws://host[:port][/path][?query]`; or `tls` and `wss`.
    ///
    /// # Errors
    /// What is wrong with `text`, for a person to read.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it must consist of visible ASCII characters");
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        let secure = matches!(scheme, "tls" | "wss");
        if secure && !cfg!(feature = "tls") {
            return Err("this program was built without the feature `tls`");
        }
        match scheme {
            "tcp" | "tls" => Ok(Self { host: host_and_port(rest, None)?, path: None, secure }),
            "ws" | "wss" if !cfg!(feature = "ws") => {
                Err("this program was built without the feature `ws`")
            }
            "ws" | "wss" => {
                let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
                let (host, path) = rest.split_at_checked(cut).unwrap_or((rest, ""));
                let path = path.split('#').next().unwrap_or_default();
                let slash = if path.starts_with('/') { "" } else { "/" };
                let path = Some(format!("{slash}{path}"));
                let usual = if secure { WSS_PORT } else { WS_PORT };
                Ok(Self { host: host_and_port(host, Some(usual))?, path, secure })
            }
            "kcp" => Err("kcp is not built yet"),
            _ => Err("its scheme is unknown; there are tcp://, ws://, tls:// and wss://"),
        }
    }
}

fn host_and_port(text: &str, usual: Option<u16>) -> Result<String, &'static str> {
    if text.contains(['/', '@', '?', '#']) {
        return Err("it must be host:port");
    }
    // The last colon of a bare IPv6 address separates nothing.
    let bare = text.ends_with(']') || !text.contains(':');
    let (host, port) = match (text.rsplit_once(':'), usual) {
        (Some((host, port)), _) if !bare => (host, port.parse().ok()),
        (_, usual) => (text, usual),
    };
    let Some(port) = port.filter(|port| *port > 0) else {
        return Err("it needs a port from 1 to 65535");
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    match host {
        "" => Err("the host is missing"),
        host if host.contains(':') && !bracketed => {
            Err("an IPv6 address must stand in square brackets")
        }
        host => Ok(format!("{host}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::Target;

    fn read(text: &str) -> Result<(String, Option<String>), &'static str> {
        Target::parse(text).map(|target| (target.host, target.path))
    }

    #[test]
    fn an_address_is_tcp_unless_it_says_otherwise() {
        let plain = Ok(("127.0.0.1:3553".to_owned(), None));
        assert_eq!(read("127.0.0.1:3553"), plain);
        assert_eq!(read("tcp://127.0.0.1:3553"), plain);
        assert_eq!(read("[::1]:3553"), Ok(("[::1]:3553".to_owned(), None)));
    }

    #[test]
    fn a_websocket_address_has_a_path_and_perhaps_a_port() {
        let ws = |host: &str, path: &str| Ok((host.to_owned(), Some(path.to_owned())));
        assert_eq!(read("ws://gate:3554"), ws("gate:3554", "/"));
        assert_eq!(read("ws://gate"), ws("gate:80", "/"));
        assert_eq!(read("ws://[::1]/play?room=1#top"), ws("[::1]:80", "/play?room=1"));
        assert_eq!(read("ws://gate?room=1"), ws("gate:80", "/?room=1"));
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_a_reason() {
        for bad in [
            "",
            "gate",
            "gate:",
            "gate:0",
            "gate:65536",
            ":3553",
            "::1:3553",
            "tcp://gate:1/x",
            "http://gate:1",
            "tls://gate",
            "wss://",
            "kcp://gate:1",
            "ws://",
            "ws://me@gate",
            "ws://g/ x",
            "ws://g/\r\nX: y",
            "ws://gäte",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }
}
