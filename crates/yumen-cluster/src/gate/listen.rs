//! Where and how clients reach a gate.

use super::{
    decide::Code,
    plan::{self, Limit, Limits},
    proxies::{Named, Proxies},
};
use crate::secure::{Pair, PemFile, Secure};
use std::{sync::Arc, time::Duration};
use yumen_net::{acceptor::Rules, limit::Limiter};
use yumen_proto::conn::{self, Heartbeat};
#[cfg(feature = "ws")]
use yumen_settings::WsServerSettings;
use yumen_settings::{Settings, TcpServerSettings};

/// Most connections of a listener that says nothing else; as due's `maxConnNum`.
const CONNECTIONS_MAX: usize = 5000;

/// One listener of a gate: made from [`Tcp`] or [`Ws`].
#[derive(Clone, Debug)]
pub struct Listen {
    addr: String,
    /// The settings may say another address.
    is_default: bool,
    connections_max: Option<usize>,
    per_address_max: Option<usize>,
    heartbeat: Option<Heartbeat>,
    login_max: Option<Duration>,
    proxies: Named,
    /// Paths of certificates and their keys.
    certificates: Vec<(String, String)>,
    #[cfg(feature = "ws")]
    ws: Option<Door>,
}

/// Where clients come in by ws, as far as code says it.
#[cfg(feature = "ws")]
#[derive(Clone, Debug, Default)]
struct Door {
    path: Option<String>,
    origins: Option<Vec<String>>,
}

/// A listener with everything decided.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) addr: String,
    pub(super) connections_max: Limit<usize>,
    pub(super) per_address_max: Limit<usize>,
    pub(super) proxies: Proxies,
    /// Those of TLS; empty is none.
    pub(super) pairs: Vec<Pair>,
    /// What is wrong with them as they are written.
    pub(super) problems: Vec<String>,
    pub(super) plan: plan::Listen,
}

impl Heard {
    /// `tcp` or `ws`.
    pub(super) fn protocol(&self) -> &'static str {
        if self.plan.is_ws() { "ws" } else { "tcp" }
    }

    pub(super) fn rules(&self, limiter: Limiter) -> Rules {
        let Proxies { balancers, forwarders, .. } = self.proxies.clone();
        Rules { limiter, balancers, forwarders }
    }

    pub(super) fn limits(&self, limiter: Limiter) -> Limits {
        Limits {
            limiter,
            is_ws: self.plan.is_ws(),
            total_follows: self.connections_max.follows,
            address_follows: self.per_address_max.follows,
        }
    }
}

/// What settings say of a listener.
struct Written<'a> {
    addr: Option<&'a str>,
    connections_max: usize,
    heartbeat: Heartbeat,
    login_max: Duration,
    proxies: Named,
    certificate: (&'a str, &'a str),
}

impl Listen {
    fn on(addr: String, is_default: bool) -> Self {
        Self {
            addr,
            is_default,
            connections_max: None,
            per_address_max: None,
            heartbeat: None,
            login_max: None,
            proxies: Named::default(),
            certificates: Vec::new(),
            #[cfg(feature = "ws")]
            ws: None,
        }
    }

    /// What the settings of its kind say.
    fn written<'a>(&self, settings: &'a Settings) -> Written<'a> {
        #[cfg(feature = "ws")]
        if self.ws.is_some() {
            let server = &settings.network.ws.server;
            let own = &settings.yumen.gate.ws;
            return Written {
                proxies: Named {
                    proxy_protocol: Some(own.proxy_protocol.clone()),
                    forwarded_for: Some(own.forwarded_for.clone()),
                },
                addr: settings.is_set("etc.network.ws.server.addr").then_some(&server.addr),
                connections_max: server.max_conn_num,
                heartbeat: server.heartbeat(),
                login_max: server.authorize_timeout,
                certificate: (&server.cert_file, &server.key_file),
            };
        }
        let server = &settings.network.tcp.server;
        let proxy_protocol = Some(settings.yumen.gate.tcp.proxy_protocol.clone());
        Written {
            proxies: Named { proxy_protocol, forwarded_for: None },
            addr: settings.is_set("etc.network.tcp.server.addr").then_some(&server.addr),
            connections_max: server.max_conn_num,
            heartbeat: server.heartbeat(),
            login_max: server.authorize_timeout,
            certificate: (&server.cert_file, &server.key_file),
        }
    }

    /// Decides what code left open: what the listener says comes before what the gate says, and both
    /// before the settings.
    pub(super) fn hear(
        self,
        code: &Code,
        common: &conn::Settings,
        settings: Option<&Settings>,
    ) -> Heard {
        let written = settings.map(|settings| self.written(settings));
        let written = written.as_ref();
        let heartbeat = self.heartbeat.or(code.heartbeat).or_else(|| Some(written?.heartbeat));
        let login_max = self.login_max.or(code.login_max).or_else(|| Some(written?.login_max));
        let connection = conn::Settings {
            heartbeat: heartbeat.unwrap_or(common.heartbeat),
            login_max: login_max.unwrap_or(common.login_max),
            ..common.clone()
        };
        let named = written.map(|written| written.proxies.clone()).unwrap_or_default();
        let proxies = Proxies::read(self.proxies.clone().or(named), self.protocol());
        let transport = self.transport((&connection, &proxies), settings);
        let mut problems = Vec::new();
        let pairs = self.pairs(self.protocol(), settings, &mut problems);
        let elsewhere = written.and_then(|written| written.addr).filter(|_| self.is_default);
        let addr = elsewhere.map_or(self.addr, str::to_owned);
        let total = written.map(|written| written.connections_max);
        let address = settings.map(|settings| settings.yumen.gate.per_address_max);
        Heard {
            addr: addr.clone(),
            connections_max: Limit::new(self.connections_max, total, CONNECTIONS_MAX),
            per_address_max: Limit::new(self.per_address_max, address, 0),
            proxies,
            pairs,
            problems,
            plan: plan::Listen {
                addr,
                settings: Arc::new(connection),
                transport,
                secure: Secure::default(),
            },
        }
    }

    /// `tcp` or `ws`.
    fn protocol(&self) -> &'static str {
        #[cfg(feature = "ws")]
        if self.ws.is_some() {
            return "ws";
        }
        "tcp"
    }

    /// The files of TLS: those of code, or else those of the settings.
    fn pairs(
        &self,
        protocol: &str,
        settings: Option<&Settings>,
        problems: &mut Vec<String>,
    ) -> Vec<Pair> {
        let code = self.certificates.iter().map(|(cert, key)| Pair {
            cert: PemFile::new("certificate of `.certificate(...)`", cert),
            key: PemFile::new("key of `.certificate(...)`", key),
        });
        let code: Vec<_> = code.collect();
        let Some(settings) = settings.filter(|_| code.is_empty()) else { return code };
        let (cert, key) = self.written(settings).certificate;
        let named =
            |key: &str, path: &str| PemFile::new(format!("network.{protocol}.server.{key}"), path);
        let first = Pair::of(named("certFile", cert), named("keyFile", key), problems);
        let gate = &settings.yumen.gate;
        let further = gate.cert_files.iter().zip(&gate.key_files).map(|(cert, key)| Pair {
            cert: PemFile::new("yumen.gate.certFiles", cert),
            key: PemFile::new("yumen.gate.keyFiles", key),
        });
        first.into_iter().flat_map(|first| std::iter::once(first).chain(further.clone())).collect()
    }

    fn transport(
        &self,
        (connection, proxies): (&conn::Settings, &Proxies),
        settings: Option<&Settings>,
    ) -> plan::Kind {
        let _only_messages_have_a_largest = (connection, proxies, settings);
        #[cfg(feature = "ws")]
        if let Some(Door { path, origins }) = &self.ws {
            use yumen_net::ws::handshake::Options;
            let mut options = Options::new(connection.layout.packet_max());
            let written = settings.map(|settings| &settings.network.ws.server);
            let (all, any) = (|| "/".to_owned(), || vec!["*".to_owned()]);
            let path = path.clone().or_else(|| Some(written?.path.clone()));
            let origins = origins.clone().or_else(|| Some(written?.origins.clone()));
            options.path = path.unwrap_or_else(all);
            options.origins = origins.unwrap_or_else(any);
            options.forwarders = Arc::clone(&proxies.forwarders);
            return plan::Kind::Ws(Arc::new(options));
        }
        plan::Kind::Tcp
    }
}

macro_rules! listener {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(Listen);

        impl $name {
            /// Most connections of this listener; 0 is no limit. More are accepted and closed at
            /// once, and counted. Default: `maxConnNum` of the gate's settings, or else 5000.
            #[must_use]
            pub fn connections_max(mut self, count: usize) -> Self {
                self.0.connections_max = Some(count);
                self
            }

            /// Most connections of one address; 0 is no limit. Default: `yumen.gate.perAddressMax` of the
            /// gate's settings, or else 0.
            #[must_use]
            pub fn per_address_max(mut self, count: usize) -> Self {
                self.0.per_address_max = Some(count);
                self
            }

            /// Load balancers, as `10.0.0.7` or `10.0.0.0/8`: each of their connections has to begin with
            /// a PROXY header, version 1 or 2, within 3 s, and is its client's then; one that does not is
            /// refused and counted. From elsewhere such a header is nonsense. Default: `proxyProtocol` of
            /// the gate's settings (`yumen.gate.tcp` or `.ws`), or else nobody.
            #[must_use]
            pub fn proxy_protocol<T: Into<String>>(
                mut self,
                balancers: impl IntoIterator<Item = T>,
            ) -> Self {
                let balancers = balancers.into_iter().map(Into::into).collect();
                self.0.proxies.proxy_protocol = Some(balancers);
                self
            }

            /// Heartbeats and the idle limit. Default: the gate's, or else its settings'.
            #[must_use]
            pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
                self.0.heartbeat = Some(heartbeat);
                self
            }

            /// Speaks TLS with this certificate and its key, both files in PEM; clients without TLS are
            /// refused. Called again, it adds one for clients that ask for another name. The files are
            /// looked at again while the gate runs in an `App`. Default: `certFile` and `keyFile` of the
            /// gate's settings with `yumen.gate.certFiles` and `keyFiles` behind them, or else no TLS.
            #[must_use]
            pub fn certificate(mut self, cert: impl Into<String>, key: impl Into<String>) -> Self {
                self.0.certificates.push((cert.into(), key.into()));
                self
            }

            /// As settings have it: two empty texts are no TLS.
            fn certificate_of(self, cert: &str, key: &str) -> Self {
                if cert.is_empty() && key.is_empty() { self } else { self.certificate(cert, key) }
            }

            /// Longest time without a user; zero is no limit. Default: the gate's, or else its settings'.
            #[must_use]
            pub fn login_max(mut self, limit: Duration) -> Self {
                self.0.login_max = Some(limit);
                self
            }
        }

        impl From<$name> for Listen {
            fn from(listener: $name) -> Self {
                listener.0
            }
        }
    };
}

listener! {
    /// A TCP listener.
    Tcp
}

impl Tcp {
    /// Listens on `addr`, as `host:port`; port 0 takes a free one, an empty host is every interface.
    pub fn on(addr: impl Into<String>) -> Self {
        Self(Listen::on(addr.into(), false))
    }

    /// Listens where the gate's settings say (`network.tcp.server.addr`), or on `addr` if they do not.
    pub fn default_on(addr: impl Into<String>) -> Self {
        Self(Listen::on(addr.into(), true))
    }

    /// As `settings` describe it, on `addr` whatever they say of that.
    pub fn with(addr: impl Into<String>, settings: &TcpServerSettings) -> Self {
        Self::on(addr)
            .connections_max(settings.max_conn_num)
            .heartbeat(settings.heartbeat())
            .login_max(settings.authorize_timeout)
            .certificate_of(&settings.cert_file, &settings.key_file)
    }
}

#[cfg(feature = "ws")]
listener! {
    /// A WebSocket listener: each packet is one binary message.
    Ws
}

#[cfg(feature = "ws")]
impl Ws {
    /// Listens on `addr`, as `host:port`; port 0 takes a free one, an empty host is every interface.
    pub fn on(addr: impl Into<String>) -> Self {
        Self::new(addr.into(), false)
    }

    /// Listens where the gate's settings say (`network.ws.server.addr`), or on `addr` if they do not.
    pub fn default_on(addr: impl Into<String>) -> Self {
        Self::new(addr.into(), true)
    }

    fn new(addr: String, is_default: bool) -> Self {
        let mut listen = Listen::on(addr, is_default);
        listen.ws = Some(Door::default());
        Self(listen)
    }

    /// As `settings` describe it, on `addr` whatever they say of that.
    pub fn with(addr: impl Into<String>, settings: &WsServerSettings) -> Self {
        Self::on(addr)
            .path(&settings.path)
            .origins(&settings.origins)
            .connections_max(settings.max_conn_num)
            .heartbeat(settings.heartbeat())
            .login_max(settings.authorize_timeout)
            .certificate_of(&settings.cert_file, &settings.key_file)
    }

    /// Where clients connect: `/` is every path, `/x` exactly that, `/x/` everything below it; all
    /// else is answered 404. Default: `path` of the gate's settings, or else `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        if let Some(door) = &mut self.0.ws {
            door.path = Some(path.into());
        }
        self
    }

    /// Accepted `Origin` headers, letter by letter; `*` accepts any and none; an empty list refuses
    /// all. Default: those of the gate's settings, or else `*`.
    #[must_use]
    pub fn origins<T: Into<String>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        if let Some(door) = &mut self.0.ws {
            door.origins = Some(origins.into_iter().map(Into::into).collect());
        }
        self
    }

    /// Proxies, as `10.0.0.7` or `10.0.0.0/8`, that are believed when they say in `X-Forwarded-For` who
    /// the client is: the rightmost address that is none of them. Default: `yumen.gate.ws.forwardedFor` of
    /// the gate's settings, or else nobody.
    #[must_use]
    pub fn forwarded_for<T: Into<String>>(mut self, proxies: impl IntoIterator<Item = T>) -> Self {
        self.0.proxies.forwarded_for = Some(proxies.into_iter().map(Into::into).collect());
        self
    }
}
