//! What a log file needs of the file system.
//!
//! All that is particular to Unix is here. The one thing to know: it stands behind a trait so that a
//! disk can be full, or lose a file, in a test.

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::Path,
    time::UNIX_EPOCH,
};

/// What is known of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) len: u64,
    /// Tells it from every other file there is.
    pub(crate) id: (u64, u64),
    /// Not a device, pipe or the like, which are neither moved nor cut.
    pub(crate) regular: bool,
    /// Nanoseconds since 1970.
    pub(crate) modified_ns: i64,
}

/// Opens and looks up files.
pub(crate) trait Disk: Send {
    /// Opens a file to append to; makes it and its directory if need be.
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>>;
    /// What `path` names now.
    fn status(&self, path: &Path) -> io::Result<Status>;
}

/// An open file.
pub(crate) trait LogFile: Write + Send {
    fn status(&self) -> io::Result<Status>;
    /// Cuts the file at `len` bytes.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// The file system of the machine.
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o644).open(path)?;
        Ok(Box::new(file))
    }

    fn status(&self, path: &Path) -> io::Result<Status> {
        path.metadata().map(|metadata| status(&metadata))
    }
}

impl LogFile for File {
    fn status(&self) -> io::Result<Status> {
        self.metadata().map(|metadata| status(&metadata))
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }
}

pub(crate) fn status(metadata: &Metadata) -> Status {
    let modified = metadata.modified().ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    Status {
        len: metadata.len(),
        id: (metadata.dev(), metadata.ino()),
        regular: metadata.is_file(),
        modified_ns: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
    }
}
