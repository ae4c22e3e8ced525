//! The last good set of instances, on disk: what a process starts with while its registry is away.
//!
//! Never an error: a file that cannot be read or written is a warning, and the registry goes on without
//! it. Blocks, so it belongs on a thread that may. A file is replaced whole, by a rename, so that a reader
//! finds the old one or the new one, also after a crash.

use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};
use yumen_core::cluster::{Instance, Snapshot};

/// The form of the file that this program writes, and the only one it reads.
const VERSION: u32 = 1;
/// Most bytes of a file.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Whose instances a file holds. A file of another registry, namespace or kind is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Of {
    pub(crate) registry: String,
    pub(crate) namespace: String,
    pub(crate) kind: String,
}

#[derive(Serialize)]
struct Write1<'a> {
    version: u32,
    #[serde(flatten)]
    of: &'a Of,
    instances: &'a [Instance],
}

#[derive(Deserialize)]
struct Read1 {
    version: u32,
    #[serde(flatten)]
    of: Of,
    instances: Vec<Instance>,
}

/// Why a file was not taken or not written.
#[derive(Debug, thiserror::Error)]
enum KeptError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("it is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("it is larger than {FILE_MAX} bytes")]
    TooLarge,
    #[error("it has version {0}, and this program reads version {VERSION}")]
    Version(u32),
    #[error("it holds {} of {} in {}", .0.kind, .0.registry, .0.namespace)]
    Others(Of),
}

/// One file.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    of: Of,
}

impl Kept {
    /// The file of these instances in `dir`, which is made when the first set is kept.
    pub(crate) fn new(dir: &Path, of: Of) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '_' };
        let name = format!("{}-{}-{}.json", of.registry, of.namespace, of.kind);
        let name: String = name.chars().map(|c| if c == '-' { c } else { plain(c) }).collect();
        Self { path: dir.join(name), of }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The set that was kept last, if there is one that can be used.
    pub(crate) fn load(&self) -> Option<Snapshot> {
        match self.read() {
            Ok(snapshot) => Some(snapshot),
            Err(KeptError::File(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                let file = self.path.display();
                tracing::warn!(%file, "the instances kept on disk cannot be used: {error}");
                None
            }
        }
    }

    /// Keeps a set in the place of the one before.
    pub(crate) fn save(&self, snapshot: &Snapshot) {
        if let Err(error) = self.write(snapshot) {
            let file = self.path.display();
            tracing::warn!(%file, "the instances could not be kept on disk: {error}");
        }
    }

    fn read(&self) -> Result<Snapshot, KeptError> {
        let mut text = Vec::new();
        File::open(&self.path)?.take(FILE_MAX.saturating_add(1)).read_to_end(&mut text)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_MAX {
            return Err(KeptError::TooLarge);
        }
        let read: Read1 = serde_json::from_slice(&text)?;
        if read.version != VERSION {
            return Err(KeptError::Version(read.version));
        }
        if read.of != self.of {
            return Err(KeptError::Others(read.of));
        }
        let by_id: BTreeMap<_, _> =
            read.instances.into_iter().map(|instance| (instance.id.clone(), instance)).collect();
        Ok(by_id.into_values().collect())
    }

    fn write(&self, snapshot: &Snapshot) -> Result<(), KeptError> {
        let content = Write1 { version: VERSION, of: &self.of, instances: snapshot };
        let text = serde_json::to_vec(&content)?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_MAX {
            return Err(KeptError::TooLarge);
        }
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir)?;
        }
        let new = self.unused();
        let written = write_whole(&new, &text).and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            // What is left of it may be all that fits on a full disk.
            let _ = fs::remove_file(&new);
        }
        Ok(written?)
    }

    /// A name beside the file that no other process and no other task uses.
    fn unused(&self) -> PathBuf {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        self.path.with_extension(format!("{}-{number}.new", process::id()))
    }
}

fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use yumen_core::cluster::Kind;

    fn of(kind: &str) -> Of {
        Of { registry: "etcd".into(), namespace: "a/b".into(), kind: kind.into() }
    }

    fn nodes() -> Snapshot {
        let node = |id: &str| Instance::new(id.into(), Kind::Node, "drpc://127.0.0.1:1");
        [node("a"), node("b")].into()
    }

    #[test]
    fn a_set_is_kept_whole_and_in_place_of_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(&dir.path().join("deep/er"), of("node"));
        assert_eq!(kept.load(), None);
        kept.save(&nodes());
        assert_eq!(kept.load(), Some(nodes()));
        kept.save(&Snapshot::default());
        assert_eq!(kept.load(), Some(Snapshot::default()));
        let files: Vec<_> = fs::read_dir(kept.path().parent().unwrap()).unwrap().collect();
        assert_eq!(files.len(), 1, "nothing else is left behind");
    }

    #[test]
    fn a_file_that_cannot_be_used_is_no_set_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::new(dir.path(), of("node"));
        kept.save(&nodes());
        let good = fs::read_to_string(kept.path()).unwrap();
        let cut = &good[..good.len() - 1];
        let newer = good.replace("\"version\":1", "\"version\":2");
        let others = good.replace("a/b", "c");
        for bad in ["", "[]", "\u{0}\u{0}", cut, &newer, &others] {
            fs::write(kept.path(), bad).unwrap();
            assert_eq!(kept.load(), None, "{bad}");
        }
        let file = File::create(kept.path()).unwrap();
        file.set_len(FILE_MAX + 1).unwrap();
        assert!(matches!(kept.read(), Err(KeptError::TooLarge)));
        kept.save(&nodes());
        assert_eq!(kept.load(), Some(nodes()));
    }

    #[test]
    fn kinds_have_files_of_their_own_and_names_stay_in_the_folder() {
        let dir = Path::new("/cache");
        assert_eq!(Kept::new(dir, of("node")).path(), Path::new("/cache/etcd-a_b-node.json"));
        assert_eq!(Kept::new(dir, of("gate")).path(), Path::new("/cache/etcd-a_b-gate.json"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_costs_the_copy_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let kept = Kept::new(&file, of("node"));
        kept.save(&nodes());
        assert_eq!(kept.load(), None);
    }
}
