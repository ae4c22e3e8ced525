//! All settings of a program, typed, and where each came from.
//!
//! Made from a [`Tree`] and never changed after that, so it may be shared. Neither its `Debug` form nor
//! what it says of a change shows a secret.

use crate::{
    Note, Problem, SettingsErrors,
    format::Format,
    get,
    key::{Key, Section, Standing, Table},
    keys::{
        backends::{ConfigSettings, RegistrySettings, TransportSettings},
        cluster::ClusterSettings,
        crypto::CryptoSettings,
        general::GeneralSettings,
        http::{HttpSettings, PprofSettings, TaskSettings},
        log::LogSettings,
        network::NetworkSettings,
        packet::PacketSettings,
        stores::{CacheSettings, EventbusSettings, LocateSettings, LockSettings},
        yumen::YumenSettings,
    },
    loader::Loader,
    section::Reader,
    tree::{Origin, Tree},
};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty;)*) => {
        /// What a program is told by files, environment, command line and code.
        ///
        /// The default is due's: that of an empty file.
        #[derive(Clone, Debug, Default)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[doc = $doc])+ pub $field: $type,)*
            /// What was accepted and has no effect, or another one than its text suggests. Empty where
            /// there is nothing to say.
            pub notes: Vec<Note>,
            written: Written,
        }

        /// All tables of the file `etc`, in the order of the reference page.
        pub fn tables() -> Vec<Table> {
            let mut all = Vec::new();
            $(<$type as Section>::tables(&mut all);)*
            all
        }

        impl Settings {
            fn read_all(reader: &mut Reader<'_>) -> Self {
                Self {
                    $($field: <$type as Section>::read(reader),)*
                    ..Self::default()
                }
            }
        }
    };
}

settings! {
    /// What belongs to the whole program: `mode`, `pid`, `shutdownMaxWaitTime`, `timezone`.
    general: GeneralSettings;
    /// What instances are and how they reach each other: `cluster.*`.
    cluster: ClusterSettings;
    /// Sockets for clients, and of clients: `network.*`.
    network: NetworkSettings;
    /// Layout of client packets: `packet.*`.
    packet: PacketSettings;
    /// Where log lines go and what they look like: `log.*`.
    log: LogSettings;
    /// Yumen's own settings: `yumen.*`.
    yumen: YumenSettings;
    /// Where users are: `locate.*`.
    locate: LocateSettings;
    /// Registries: `registry.*`.
    registry: RegistrySettings;
    /// Calls between services: `transport.*`.
    transport: TransportSettings;
    /// Configuration centres: `config.*`.
    config: ConfigSettings;
    /// The event bus: `eventbus.*`.
    eventbus: EventbusSettings;
    /// The cache: `cache.*`.
    cache: CacheSettings;
    /// Locks that several processes share: `lock.*`.
    lock: LockSettings;
    /// The pool for work beside handlers: `task.*`.
    task: TaskSettings;
    /// The web server for games: `http.*`.
    http: HttpSettings;
    /// Profiling: `pprof.*`.
    pprof: PprofSettings;
    /// Keys for encrypting and signing messages: `crypto.*`.
    crypto: CryptoSettings;
}

/// All keys, in the order of the reference page.
pub fn keys() -> Vec<Key> {
    tables().into_iter().flat_map(|table| table.keys).collect()
}

/// Every key that an environment variable can write to.
pub(crate) fn known_keys() -> Vec<&'static str> {
    let alive = |key: &Key| key.standing != Standing::Dead;
    keys().into_iter().filter(alive).map(|key| key.name).collect()
}

/// Whether the first part of a key names a table or a value of due's or Yumen's in `etc`.
pub(crate) fn is_own(first: &str) -> bool {
    keys().iter().any(|key| key.path().split('.').next() == Some(first))
}

/// What was written. It may hold secrets, so it is not shown.
#[derive(Clone, Default)]
struct Written(Arc<Tree>);

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Settings {
    /// What `tree` says, with `notes` in front of what else is worth saying.
    ///
    /// # Errors
    /// [`SettingsErrors`] lists every key that is unknown, every value of the wrong form or out of
    /// range, and every key that would make the program safer and is not honoured yet.
    pub fn from_tree(tree: Tree, notes: Vec<Note>) -> Result<Self, SettingsErrors> {
        let keys = keys();
        let mut reader = Reader::new(&tree, &keys, notes);
        let read = Self::read_all(&mut reader);
        reader.rest();
        let Reader { problems, notes, .. } = reader;
        if problems.is_empty() {
            Ok(Self { notes, written: Written(Arc::new(tree)), ..read })
        } else {
            Err(SettingsErrors { problems })
        }
    }

    /// What this process is told, by its files, its environment and its command line; see [`Loader`].
    /// Arguments that are not about settings are passed over.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn load() -> Result<Self, SettingsErrors> {
        Loader::process().0.load()
    }

    /// Reads the files of the directory `dir`, or one file, and nothing else.
    ///
    /// # Errors
    /// As [`Loader::load`].
    pub fn read(dir: impl Into<PathBuf>) -> Result<Self, SettingsErrors> {
        Loader::new().dir(dir).load()
    }

    /// The settings in `text`, which stands in `file`; its extension names the format, toml where it
    /// names none.
    ///
    /// # Errors
    /// As [`Settings::from_tree`], and one problem if the text does not parse.
    pub fn parse(text: &str, file: &Path) -> Result<Self, SettingsErrors> {
        let format = Format::of(file).unwrap_or(Format::Toml);
        let content = format.parse(text.as_bytes(), &Origin::File(file.into()));
        let mut tree = Tree::default();
        tree.insert("etc", content.map_err(|problem| SettingsErrors { problems: vec![problem] })?);
        Self::from_tree(tree, Vec::new())
    }

    /// What was written, of which the fields are the meaning.
    pub fn tree(&self) -> &Tree {
        &self.written.0
    }

    /// The user's own value under `key`, or `None` if nothing was written there. The first part of the
    /// key names the file, as in `game.maxPlayers` for `maxPlayers` in `game.toml`; without such a file
    /// the key stands in `etc`.
    ///
    /// # Errors
    /// A [`Problem`] with the file and the key of the value that does not fit.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Problem> {
        self.tree().find(key).map(|node| get::typed(key, node)).transpose()
    }

    /// Where `key`, as `etc.cluster.gate.addr`, was written. `None`: nowhere, so its default holds.
    pub fn origin(&self, key: &str) -> Option<&Origin> {
        self.tree().find(key).map(|node| &node.origin)
    }

    /// Whether `key` was written anywhere.
    pub fn is_set(&self, key: &str) -> bool {
        self.origin(key).is_some()
    }

    /// The value of `key`, its default included, as it is written in toml; a secret as `***`.
    pub(crate) fn shown(&self, key: &Key) -> String {
        let written = self.tree().get(key.name).and_then(|node| (key.show)(&node.value));
        written.unwrap_or_else(|| key.default_text())
    }
}
