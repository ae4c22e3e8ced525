//! Where log lines go: console and file, as text or json, behind a bounded queue that never blocks.
