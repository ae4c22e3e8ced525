//! How a locator on Redis is made: from code, or from due's own keys.

use super::{
    RedisLocator,
    keys::{Keys, prefix_problem},
    router::{Connect, Router},
    server::{Dialer, Server, Tuning},
    tls::Tls,
};
use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisResult, TlsCertificates, io::tcp::TcpSettings,
};
use std::{ops::RangeInclusive, path::PathBuf, sync::Arc, time::Duration};
use yumen_settings::keys::{stores::LocateRedisSettings, yumen::YumenLocatorSettings};

const DURATIONS: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// Describes a [`RedisLocator`]. Every setter has a default.
#[must_use = "nothing is made before `build`"]
#[derive(Clone)]
pub struct RedisLocatorBuilder {
    addrs: Vec<String>,
    db: i64,
    username: String,
    password: String,
    prefix: String,
    tls: Tls,
    tuning: Tuning,
    moves_max: usize,
}

impl std::fmt::Debug for RedisLocatorBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisLocatorBuilder")
            .field("addrs", &self.addrs)
            .field("db", &self.db)
            .field("prefix", &self.prefix)
            .field("tls", &self.tls)
            .field("tuning", &self.tuning)
            .finish_non_exhaustive()
    }
}

impl Default for RedisLocatorBuilder {
    fn default() -> Self {
        Self {
            addrs: vec!["127.0.0.1:6379".to_owned()],
            db: 0,
            username: String::new(),
            password: String::new(),
            prefix: "due:locate".to_owned(),
            tls: Tls::default(),
            tuning: Tuning {
                command_max: Duration::from_secs(3),
                connect_max: Duration::from_secs(3),
                ping_every: Duration::from_secs(3),
                in_flight_max: 1_024,
                waiting_max: 65_536,
                retries_max: 3,
            },
            moves_max: 16_384,
        }
    }
}

impl RedisLocatorBuilder {
    /// What due's section `locate.redis` says; what code sets after it comes before the file.
    pub fn from_settings(settings: &LocateRedisSettings) -> Self {
        let retries_max = u32::try_from(settings.max_retries.max(0)).unwrap_or(u32::MAX);
        let mut this = Self::default()
            .prefix(settings.prefix.clone())
            .db(settings.db)
            .user(settings.username.clone(), settings.password.expose())
            .retries_max(retries_max);
        this.addrs.clone_from(&settings.addrs);
        this.tls = Tls::from_settings(settings);
        this
    }

    /// The times and limits that the section `yumen.locator` says.
    pub fn limits(self, settings: &YumenLocatorSettings) -> Self {
        self.command_max(settings.timeout)
            .connect_max(settings.dial_timeout)
            .ping_every(settings.ping_interval)
            .in_flight_max(usize::try_from(settings.commands_max).unwrap_or(usize::MAX))
    }

    /// Where the server is, as `host:port`. Default: `127.0.0.1:6379`.
    pub fn addr(self, addr: impl Into<String>) -> Self {
        self.addrs([addr])
    }

    /// Servers of one Redis Cluster, as `host:port`: two or more mean Redis Cluster. They are where the
    /// others are learned from, and where events are heard, so name all, or one of each machine.
    /// Default: one server.
    pub fn addrs<A: Into<String>>(mut self, addrs: impl IntoIterator<Item = A>) -> Self {
        self.addrs = addrs.into_iter().map(Into::into).collect();
        self
    }

    /// Connects with TLS and trusts what these certificates have signed, or without a file what the system
    /// trusts. Read by [`RedisLocatorBuilder::build`]. Default: no TLS.
    pub fn tls(mut self, ca_file: Option<PathBuf>) -> Self {
        self.tls.ask(ca_file);
        self
    }

    /// The certificate (PEM, with what signed it) and its key that the server is shown; this is TLS.
    /// Read by [`RedisLocatorBuilder::build`]. Default: none.
    pub fn identity(mut self, cert_file: PathBuf, key_file: PathBuf) -> Self {
        self.tls.show(cert_file, key_file);
        self
    }

    /// Number of the database, from 0; Redis Cluster has only 0. Default: 0.
    pub fn db(mut self, db: i64) -> Self {
        self.db = db;
        self
    }

    /// User and password at the server; an empty user is the server's default one, an empty password
    /// sends neither. Default: both empty.
    pub fn user(mut self, username: impl Into<String>, password: impl Into<String>) -> Self {
        self.username = username.into();
        self.password = password.into();
        self
    }

    /// What the names of all keys begin with; the same for all processes of a cluster, due's included.
    /// Default: `due:locate`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Longest time from a call to its answer. Default: 3 s; 10 ms to 60 s.
    pub fn command_max(mut self, limit: Duration) -> Self {
        self.tuning.command_max = limit;
        self
    }

    /// Longest time until a new connection serves. Default: 3 s; 10 ms to 60 s.
    pub fn connect_max(mut self, limit: Duration) -> Self {
        self.tuning.connect_max = limit;
        self
    }

    /// After this long without a message a connection is asked whether it lives. Default: 3 s; 10 ms to
    /// 60 s.
    pub fn ping_every(mut self, interval: Duration) -> Self {
        self.tuning.ping_every = interval;
        self
    }

    /// Most commands under way at once. Default: 1,024; 1 to 65,536.
    pub fn in_flight_max(mut self, commands: usize) -> Self {
        self.tuning.in_flight_max = commands;
        self
    }

    /// Most commands that wait behind those; one more fails at once. Default: 65,536.
    pub fn waiting_max(mut self, commands: usize) -> Self {
        self.tuning.waiting_max = commands;
        self
    }

    /// How often a command that changes nothing is sent again when its connection breaks, within
    /// its time. Default: 3.
    pub fn retries_max(mut self, retries: u32) -> Self {
        self.tuning.retries_max = retries;
        self
    }

    /// Events a follower may be behind before it is told that it lost some; about 80 bytes each.
    /// Default: 16,384; 1 to 1,048,576.
    pub fn moves_max(mut self, events: usize) -> Self {
        self.moves_max = events;
        self
    }

    /// The locator; nothing is sent before its first call.
    ///
    /// # Errors
    /// All that is wrong, each with the name of its key or setter.
    pub fn build(self) -> Result<RedisLocator, Vec<String>> {
        let mut problems = Vec::new();
        if self.addrs.is_empty() {
            problems.push("addrs: there is none; name the server as host:port".to_owned());
        }
        if self.addrs.len() > 1 && self.db > 0 {
            problems.push(format!(
                "db: {} addresses mean Redis Cluster, which has no database but 0; remove db, or name \
                 one server",
                self.addrs.len()
            ));
        }
        if self.db < 0 {
            problems.push(format!("db: {} is no number of a database; they start at 0", self.db));
        }
        if self.password.is_empty() && !self.username.is_empty() {
            problems.push("password: a user without one; add it, or remove username".to_owned());
        }
        if let Some(problem) = prefix_problem(&self.prefix) {
            problems.push(format!("prefix: {:?}: {problem}", self.prefix));
        }
        let Tuning { command_max, connect_max, ping_every, in_flight_max, .. } = self.tuning;
        let times = [
            ("command_max", command_max),
            ("connect_max", connect_max),
            ("ping_every", ping_every),
        ];
        for (name, time) in times.into_iter().filter(|(_, time)| !DURATIONS.contains(time)) {
            problems.push(format!("{name}: {time:?} is not from 10 ms to 60 s"));
        }
        if !(1..=65_536).contains(&in_flight_max) {
            problems.push(format!("in_flight_max: {in_flight_max} is not from 1 to 65,536"));
        }
        let mut parsed = Vec::new();
        for addr in &self.addrs {
            match parse_addr(addr) {
                Ok(addr) => parsed.push(addr),
                Err(problem) => problems.push(format!("addrs: {problem}")),
            }
        }
        let certificates = match self.tls.read() {
            Ok(certificates) => certificates,
            Err(more) => {
                problems.extend(more);
                None
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let names: Vec<String> =
            parsed.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let name: Arc<str> = format!("redis at {}", names.join(", ")).into();
        let dialer =
            self.dialer(&parsed, certificates).map_err(|error| vec![format!("addrs: {error}")])?;
        let server = Server::new(name, dialer, self.tuning);
        Ok(RedisLocator::over(server, Keys::new(&self.prefix, self.db), self.moves_max))
    }

    fn dialer(
        &self,
        addrs: &[(String, u16)],
        certificates: Option<TlsCertificates>,
    ) -> RedisResult<Dialer> {
        let infos: RedisResult<Vec<_>> = addrs
            .iter()
            .map(|(host, port)| self.info(host, *port, certificates.is_some()))
            .collect();
        let infos = infos?;
        let client = |info: &ConnectionInfo| match &certificates {
            Some(certificates) => Client::build_with_tls(info.clone(), certificates.clone()),
            None => Client::open(info.clone()),
        };
        if let [one] = infos.as_slice() {
            return client(one).map(Dialer::One);
        }
        let named: RedisResult<Vec<_>> = infos.iter().map(client).collect();
        let (this, addrs) = (self.clone(), addrs.to_vec());
        let connect = move |host: &str, port: u16| {
            let info = this.info(host, port, certificates.is_some())?;
            match &certificates {
                Some(certificates) => Client::build_with_tls(info, certificates.clone()),
                None => Client::open(info),
            }
        };
        let connect: Arc<Connect> = Arc::new(connect);
        // Half of the time of a command, so that there is time to ask another server.
        let silent_max = self.tuning.command_max.checked_div(2).unwrap_or_default();
        let router = move || Router::new(Arc::clone(&connect), addrs.clone(), silent_max);
        Ok(Dialer::Slots(Box::new(router), named?))
    }

    fn info(&self, host: &str, port: u16, tls: bool) -> RedisResult<ConnectionInfo> {
        let mut redis = RedisConnectionInfo::default()
            // Events and answers in one stream, and each known for what it is.
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(self.db)
            .set_lib_name("yumen", env!("CARGO_PKG_VERSION"));
        if !self.password.is_empty() {
            redis = redis.set_password(&self.password);
            if !self.username.is_empty() {
                redis = redis.set_username(&self.username);
            }
        }
        let host = host.to_owned();
        let addr = if tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(addr.into_connection_info()?.set_redis_settings(redis).set_tcp_settings(tcp))
    }
}

/// `host:port`, where the host may be an IPv6 address in brackets.
fn parse_addr(addr: &str) -> Result<(String, u16), String> {
    let wanted = || format!("{addr:?} is not host:port");
    let (host, port) = addr.rsplit_once(':').ok_or_else(wanted)?;
    let port: u16 = port.parse().map_err(|_| wanted())?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || port == 0 {
        return Err(wanted());
    }
    Ok((host.to_owned(), port))
}
