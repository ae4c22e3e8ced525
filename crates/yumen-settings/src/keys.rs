//! All keys, in tables, one file per group of sections.
//!
//! To add a key: a row in the table of its section, and a row in `tests/data/keys.tsv`. To add a
//! section: its table, a field in the struct above it, and nothing else.

pub mod backends;
pub mod cluster;
pub mod crypto;
pub mod general;
pub mod http;
pub mod log;
pub mod network;
pub mod packet;
pub mod stores;
pub mod yumen;

use crate::{
    form::{Form, Read, kind},
    key::{Key, Standing},
    tree::Value,
};

/// A value about which nothing is known, for a key that nobody reads: what it is, for a person.
#[derive(Default)]
struct Anything(String);

impl Form for Anything {
    const NAME: &'static str = "anything";
    const WANTED: &'static str = "anything";

    fn read(value: &Value) -> Option<Read<Self>> {
        let nothing = *value == Value::Null;
        Some(Read::new(Self(if nothing { String::new() } else { kind(value) })))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

/// A key, or a table with all in it, that due's documents show and its code does not read.
pub(crate) const fn dead(name: &'static str) -> Key {
    let doc = "In due's documents, and read by nothing.";
    Key::new::<Anything>(name, doc, || Value::Null, Standing::Dead)
}

/// Refuses what is no `host:port`.
fn addr(text: &str) -> Result<(), String> {
    let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    let wanted = "it must be \"host:port\"; \":3553\" is every interface, port 0 any free port";
    port.map(|_| ()).ok_or_else(|| wanted.to_owned())
}

/// As [`addr`]; nothing is none.
fn addr_or_none(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { addr(text) }
}

#[cfg(test)]
mod tests {
    use crate::all_keys;

    /// `enableIPValidation` as `enable_ip_validation`.
    fn snake(name: &str) -> String {
        let letters: Vec<char> = name.chars().collect();
        let mut snake = String::new();
        for (at, letter) in letters.iter().enumerate() {
            let small = |at: usize| letters.get(at).is_some_and(|other| other.is_lowercase());
            let begins = letter.is_uppercase() && at > 0 && (small(at - 1) || small(at + 1));
            snake.extend(begins.then_some('_'));
            snake.extend(letter.to_lowercase());
        }
        snake
    }

    #[test]
    fn every_field_has_the_name_of_its_key() {
        for key in all_keys().iter().filter(|key| !key.field.is_empty()) {
            let last = key.name.rsplit('.').next().unwrap();
            assert_eq!(snake(last), key.field, "{}", key.name);
        }
    }
}
