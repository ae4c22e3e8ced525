//! Where and how clients reach a gate.

use super::plan;
use std::{sync::Arc, time::Duration};
use yumen_proto::conn::{Heartbeat, Settings};
use yumen_settings::TcpServerSettings;
#[cfg(feature = "ws")]
use yumen_settings::WsServerSettings;

/// Most connections of a listener that says nothing else; as due's `maxConnNum`.
const CONNECTIONS_MAX: usize = 5000;

/// One listener of a gate: made from [`Tcp`] or [`Ws`].
#[derive(Clone, Debug)]
pub struct Listen {
    pub(super) addr: String,
    pub(super) connections_max: usize,
    pub(super) per_address_max: usize,
    heartbeat: Option<Heartbeat>,
    login_max: Option<Duration>,
    #[cfg(feature = "ws")]
    ws: Option<(String, Vec<String>)>,
}

impl Listen {
    fn on(addr: String) -> Self {
        Self {
            addr,
            connections_max: CONNECTIONS_MAX,
            per_address_max: 0,
            heartbeat: None,
            login_max: None,
            #[cfg(feature = "ws")]
            ws: None,
        }
    }

    pub(super) fn plan(&self, common: &Settings) -> plan::Listen {
        let settings = Settings {
            heartbeat: self.heartbeat.unwrap_or(common.heartbeat),
            login_max: self.login_max.unwrap_or(common.login_max),
            ..common.clone()
        };
        let transport = self.transport(&settings);
        plan::Listen { addr: self.addr.clone(), settings: Arc::new(settings), transport }
    }

    /// `tcp` or `ws`.
    pub(super) fn protocol(&self) -> &'static str {
        #[cfg(feature = "ws")]
        if self.ws.is_some() {
            return "ws";
        }
        "tcp"
    }

    fn transport(&self, settings: &Settings) -> plan::Kind {
        let _only_messages_have_a_largest = settings;
        #[cfg(feature = "ws")]
        if let Some((path, origins)) = &self.ws {
            use yumen_net::ws::handshake::Options;
            let mut options = Options::new(settings.layout.packet_max());
            options.path.clone_from(path);
            options.origins.clone_from(origins);
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
            /// once, and counted. Default: 5000.
            #[must_use]
            pub fn connections_max(mut self, count: usize) -> Self {
                self.0.connections_max = count;
                self
            }

            /// Most connections of one address; 0 is no limit. Default: 0.
            #[must_use]
            pub fn per_address_max(mut self, count: usize) -> Self {
                self.0.per_address_max = count;
                self
            }

            /// Heartbeats and the idle limit. Default: the gate's.
            #[must_use]
            pub fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
                self.0.heartbeat = Some(heartbeat);
                self
            }

            /// Longest time without a user; zero is no limit. Default: the gate's.
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
        Self(Listen::on(addr.into()))
    }

    /// As `settings` describe it, on `addr` whatever they say of that.
    pub fn with(addr: impl Into<String>, settings: &TcpServerSettings) -> Self {
        Self::on(addr)
            .connections_max(settings.max_conn_num)
            .heartbeat(settings.heartbeat())
            .login_max(settings.authorize_timeout)
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
        let mut listen = Listen::on(addr.into());
        listen.ws = Some(("/".to_owned(), vec!["*".to_owned()]));
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
    }

    /// Where clients connect: `/` is every path, `/x` exactly that, `/x/` everything below it; all
    /// else is answered 404. Default: `/`.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        if let Some((known, _)) = &mut self.0.ws {
            *known = path.into();
        }
        self
    }

    /// Accepted `Origin` headers, letter by letter; `*` accepts any and none; an empty list refuses
    /// all. Default: `*`.
    #[must_use]
    pub fn origins<T: Into<String>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        if let Some((_, known)) = &mut self.0.ws {
            *known = origins.into_iter().map(Into::into).collect();
        }
        self
    }
}
