//! JSON is written as `serde_json` writes it, byte for byte, whatever a value is made of.

use proptest::prelude::*;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use yumen_core::codec::{Encode, Json};

fn same_as_the_library<T: Serialize + ?Sized>(value: &T) {
    let mut body = Vec::new();
    let written = Json::encode(value, &mut body);
    match serde_json::to_vec(value) {
        Ok(expected) => {
            let text = String::from_utf8_lossy(&body);
            assert_eq!(text, String::from_utf8_lossy(&expected));
            assert_eq!(written, Ok(()));
        }
        Err(refused) => {
            assert_eq!(written.map_err(|e| e.detail().to_owned()), Err(refused.to_string()));
            assert!(body.is_empty(), "nothing is left of a value that cannot be written");
        }
    }
}

/// One of everything that serde can say, with texts inside all that can have some.
#[derive(Clone, Debug, Serialize)]
struct All {
    text: String,
    character: char,
    bytes: Bytes,
    none: Option<String>,
    some: Option<String>,
    unit: (),
    marker: Marker,
    name: Name,
    pair: (String, i128, u128),
    two: Two,
    list: Vec<Kind>,
    map: BTreeMap<String, String>,
    numbered: BTreeMap<i64, Vec<String>>,
    by_truth: BTreeMap<bool, f32>,
    by_letter: BTreeMap<char, f64>,
    address: Ipv4Addr,
    #[serde(skip_serializing_if = "String::is_empty")]
    left_out: String,
    #[serde(flatten)]
    more: HashMap<String, Name>,
}

#[derive(Clone, Debug, Serialize)]
struct Marker;

#[derive(Clone, Debug, Serialize)]
struct Name(String);

#[derive(Clone, Debug, Serialize)]
struct Two(String, bool);

#[derive(Clone, Debug, Serialize)]
enum Kind {
    Unit,
    New(String),
    Tuple(String, u8),
    Struct {
        text: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        skipped: Option<u8>,
    },
    Nested(Box<Self>),
}

/// Serde's bytes, which JSON has no form for but a list.
#[derive(Clone, Debug)]
struct Bytes(Vec<u8>);

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_bytes(&self.0)
    }
}

/// Mostly plain, as texts are; some with what has to be escaped, and any length around a block's.
fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{0,80}",
        "\\PC{0,40}",
        prop::collection::vec(any::<char>(), 0..70).prop_map(String::from_iter),
        "[a-z]{28,34}[\"\\\\\u{0}-\u{1f}\u{7f}]?[a-z]{0,3}",
    ]
}

fn kinds() -> impl Strategy<Value = Kind> {
    let leaf = prop_oneof![
        Just(Kind::Unit),
        texts().prop_map(Kind::New),
        (texts(), any::<u8>()).prop_map(|(text, number)| Kind::Tuple(text, number)),
        (texts(), any::<Option<u8>>()).prop_map(|(text, skipped)| Kind::Struct { text, skipped }),
    ];
    leaf.prop_recursive(4, 8, 1, |inner| inner.prop_map(|kind| Kind::Nested(Box::new(kind))))
}

fn everything() -> impl Strategy<Value = All> {
    (
        prop::collection::vec(texts(), 8),
        (any::<char>(), prop::collection::vec(any::<u8>(), 0..5)),
        prop::collection::vec(kinds(), 0..4),
        prop::collection::btree_map(texts(), texts(), 0..4),
        (any::<i128>(), any::<f32>(), any::<f64>(), any::<bool>()),
    )
        .prop_map(|(texts, (character, bytes), list, map, (number, single, double, truth))| {
            let text = |at: usize| texts[at].clone();
            All {
                text: text(0),
                character,
                bytes: Bytes(bytes),
                none: None,
                some: Some(text(1)),
                unit: (),
                marker: Marker,
                name: Name(text(2)),
                pair: (text(3), number, number.unsigned_abs()),
                two: Two(text(4), truth),
                list,
                map,
                numbered: BTreeMap::from([(-5, vec![text(5), String::new()])]),
                by_truth: BTreeMap::from([(truth, single)]),
                by_letter: BTreeMap::from([(character, double)]),
                address: Ipv4Addr::LOCALHOST,
                left_out: if truth { text(6) } else { String::new() },
                more: HashMap::from([(text(7), Name(text(0)))]),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_serde_can_say_is_written_as_the_library_writes_it(all in everything()) {
        same_as_the_library(&all);
    }
}

#[test]
fn every_character_is_escaped_as_the_library_does_alone_and_at_the_end_of_a_long_text() {
    let characters = (0..=0x2100).chain([0xfffd, 0xffff, 0x1_0000, 0x10_ffff]);
    for character in characters.filter_map(char::from_u32) {
        same_as_the_library(&character.to_string());
        same_as_the_library(&format!("{}{character}", "x".repeat(40)));
    }
}

#[test]
fn json_that_is_written_already_and_values_of_the_library_are_left_alone() {
    #[derive(Serialize)]
    struct Both {
        raw: Box<RawValue>,
        plain: Box<RawValue>,
        value: serde_json::Value,
    }
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    // The second has nothing in it that a text would escape.
    let (raw, plain) = (raw(r#"{"a": ["plain", 1.50]}"#), raw("[1, 1.50]"));
    let value = serde_json::json!({"text": "plain", "list": ["\n", null, 1.5, {"deep": ""}]});
    let both = Both { raw, plain, value };
    same_as_the_library(&both);
    let mut body = Vec::new();
    Json::encode(&both, &mut body).unwrap();
    assert!(body.starts_with(br#"{"raw":{"a": ["plain", 1.50]},"plain":[1, 1.50],"#));
}

#[test]
fn what_has_no_form_in_json_is_refused_in_the_librarys_words() {
    same_as_the_library(&BTreeMap::from([(vec![1], "a key that is a list")]));
    same_as_the_library(&vec![BTreeMap::from([((), "plain")])]);
}
