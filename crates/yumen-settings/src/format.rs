//! Files in due's four formats, read into the values of [`tree`](crate::tree).
//!
//! It opens nothing and knows no key; it takes bytes and gives a table or says where they are wrong.
//! The one thing to know: no input costs more than its size suggests. Size, depth and what aliases
//! unfold to are bounded, and a key that is written twice is an error in every format.

mod typed;
mod xml;

use crate::{
    problem::{Position, Problem},
    tree::{Node, Origin, Value},
};
use std::{fmt, path::Path};

/// Largest file that is read, in bytes.
pub const FILE_MAX: usize = 1024 * 1024;

/// Most tables and lists that may stand inside each other.
pub const DEPTH_MAX: usize = 32;

/// A format of settings files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `.toml`. Dates become texts.
    Toml,
    /// `.yaml` and `.yml`, in one document. Keys that are numbers or booleans become texts.
    Yaml,
    /// `.json`.
    Json,
    /// `.xml`. The root stands for the file, whatever its name. Its elements and attributes are the
    /// keys, an element that is repeated is a list, and every value is a text without the space around
    /// it (inside `CDATA`, with it). A document type is refused.
    ///
    /// due names this format and cannot read it into keys, so the mapping is Yumen's.
    Xml,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Toml, Self::Yaml, Self::Json, Self::Xml];

    /// The format that the extension of `file` names, in either case. `None` for any other.
    pub fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "xml" => Some(Self::Xml),
            _ => None,
        }
    }

    /// The table that `bytes` hold, each value with `origin`.
    ///
    /// # Errors
    /// One [`Problem`], with line and column where there is a place: the bytes are not UTF-8, more than
    /// [`FILE_MAX`], nested deeper than [`DEPTH_MAX`], not of this format, or not a table.
    pub fn parse(self, bytes: &[u8], origin: &Origin) -> Result<Node, Problem> {
        let problem = |fault: Fault| {
            let mut problem = Problem::new(Some(origin.clone()), "", fault.what);
            problem.position = fault.position;
            problem
        };
        let mut node = self.table(bytes).map_err(problem)?;
        stamp(&mut node, origin);
        Ok(node)
    }

    fn table(self, bytes: &[u8]) -> Result<Node, Fault> {
        if bytes.len() > FILE_MAX {
            let what = format!("is larger than {FILE_MAX} bytes; split it into several files");
            return Err(Fault { position: None, what });
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = text(bytes)?;
        let value = match self {
            Self::Toml => typed::toml(text),
            Self::Yaml => typed::yaml(text),
            Self::Json => typed::json(text),
            Self::Xml => xml::parse(text),
        }?;
        if !is_shallow(&value, DEPTH_MAX) {
            return Err(Fault::too_deep(None));
        }
        match value {
            Value::Null => Ok(node(Value::Table([].into()))),
            Value::Table(_) => Ok(node(value)),
            Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => {
                let what = "is not a table; a settings file holds keys and their values";
                Err(Fault { position: None, what: what.to_owned() })
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Toml => "toml",
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Xml => "xml",
        })
    }
}

/// What is wrong inside a file, and where.
struct Fault {
    position: Option<Position>,
    what: String,
}

impl Fault {
    /// A parser's complaint.
    fn invalid(format: Format, position: Option<Position>, what: impl fmt::Display) -> Self {
        Self { position, what: format!("is not valid {format}: {what}") }
    }

    fn too_deep(position: Option<Position>) -> Self {
        let what = format!("more than {DEPTH_MAX} tables and lists inside each other; flatten it");
        Self { position, what }
    }
}

fn text(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).and_then(|valid| str::from_utf8(valid).ok());
        let position = valid.map(|valid| Position::of(valid, valid.len()));
        let what = "is not UTF-8 from here on; save the file in this encoding".to_owned();
        Fault { position, what }
    })
}

/// A value of which only the file is still to be said.
fn node(value: Value) -> Node {
    Node { value, origin: Origin::Code }
}

/// Whether at most `levels` tables and lists stand inside each other.
fn is_shallow(value: &Value, levels: usize) -> bool {
    let inner =
        |node: &Node| levels.checked_sub(1).is_some_and(|levels| is_shallow(&node.value, levels));
    match value {
        Value::Table(table) => levels > 0 && table.values().all(inner),
        Value::List(list) => levels > 0 && list.iter().all(inner),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => true,
    }
}

fn stamp(node: &mut Node, origin: &Origin) {
    node.origin = origin.clone();
    match &mut node.value {
        Value::Table(table) => table.values_mut().for_each(|node| stamp(node, origin)),
        Value::List(list) => list.iter_mut().for_each(|node| stamp(node, origin)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

#[cfg(test)]
mod tests;
