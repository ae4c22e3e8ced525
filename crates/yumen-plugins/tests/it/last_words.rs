//! What a server wrote before its test failed.

use std::path::Path;

/// The end of the file `log` in a server's folder: at most 4,000 bytes, nothing if there is none.
pub(crate) fn last_words(dir: &Path) -> String {
    let log = std::fs::read(dir.join("log")).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(4_000)..]).into_owned()
}
