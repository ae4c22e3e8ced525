//! The serde codecs: what is written is read, and no input is worse than an error.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use yumen_core::codec::{Action, CodecError, Decode, Encode};

/// One of every kind of field that serde tells apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Hero {
    name: String,
    gold: i64,
    power: f64,
    alive: bool,
    title: Option<String>,
    bag: Vec<Item>,
    skills: BTreeMap<String, u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Item {
    Nothing,
    Coins(u64),
    Sword { sharp: i32 },
    Box(Box<Self>),
}

fn items() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        Just(Item::Nothing),
        any::<u64>().prop_map(Item::Coins),
        any::<i32>().prop_map(|sharp| Item::Sword { sharp }),
    ];
    leaf.prop_recursive(8, 8, 1, |inner| inner.prop_map(|item| Item::Box(Box::new(item))))
}

fn heroes() -> impl Strategy<Value = Hero> {
    let text = || "\\PC{0,12}";
    (
        (text(), any::<i64>(), -1e9..1e9_f64, any::<bool>()),
        prop::option::of(text()),
        prop::collection::vec(items(), 0..5),
        prop::collection::btree_map(text(), any::<u32>(), 0..4),
    )
        .prop_map(|((name, gold, power, alive), title, bag, skills)| {
            // Whole thousandths, which every reader of decimal numbers gives back exactly.
            let power = (power * 1e3).round() / 1e3;
            Hero { name, gold, power, alive, title, bag, skills }
        })
}

fn round_trip<C: Encode<Hero> + Decode<Hero>>(hero: &Hero) {
    let mut body = Vec::new();
    C::encode(hero, &mut body).unwrap();
    assert_eq!(C::decode(&body).as_ref(), Ok(hero));
}

/// Reads noise, and a good body with one byte changed.
fn noise<C: Encode<Hero> + Decode<Hero>>(noise: &[u8], hero: &Hero, at: usize, change: u8) {
    let bounded = |result: Result<Hero, CodecError>| {
        assert!(result.err().is_none_or(|e| e.detail().len() <= CodecError::DETAIL_MAX));
    };
    bounded(C::decode(noise));
    let mut body = Vec::new();
    C::encode(hero, &mut body).unwrap();
    let at = at % body.len();
    body[at] ^= change;
    bounded(C::decode(&body));
    body.truncate(at);
    bounded(C::decode(&body));
}

fn plain_hero() -> Hero {
    Hero {
        name: "阿达\n\"<&>\"".to_owned(),
        gold: i64::MIN,
        power: 0.5,
        alive: true,
        title: None,
        bag: vec![Item::Nothing, Item::Sword { sharp: -1 }, Item::Box(Item::Coins(3).into())],
        skills: BTreeMap::from([("run".to_owned(), u32::MAX)]),
    }
}

/// Values as a game might send them.
#[cfg(any(feature = "conformance", all(feature = "json", feature = "msgpack")))]
fn seen() -> [Hero; 2] {
    let hero = plain_hero();
    let large = Hero { bag: vec![Item::Coins(u64::MAX); 200], ..hero.clone() };
    [hero, large]
}

/// A value that cannot be written in any format.
struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeSeq};
        let mut seq = out.serialize_seq(Some(2))?;
        seq.serialize_element("written before the failure")?;
        Err(S::Error::custom("no form"))
    }
}

fn a_failure_takes_back_what_it_wrote<C: Encode<Unwritable>>() {
    let mut out = b"before".to_vec();
    let error = C::encode(&Unwritable, &mut out).unwrap_err();
    assert_eq!(out, b"before");
    assert_eq!((error.action(), error.codec()), (Action::Encode, C::NAME));
}

/// Nested deeper than any stack, through arrays and through enum variants.
fn depth_is_refused<C: Decode<Item> + Decode<Tree>>(array: &[u8], variant: &[u8]) {
    let deep = |opening: &[u8]| opening.repeat(100_000);
    assert!(<C as Decode<Tree>>::decode(&deep(array)).is_err());
    assert!(<C as Decode<Item>>::decode(&deep(variant)).is_err());
}

#[derive(Debug, Deserialize)]
struct Tree(#[expect(dead_code, reason = "only read into")] Vec<Self>);

macro_rules! properties {
    ($codec:ident) => {
        proptest! {
            #![proptest_config(ProptestConfig {
                failure_persistence: None,
                ..ProptestConfig::default()
            })]

            #[test]
            fn what_is_written_is_read(hero in heroes()) {
                round_trip::<$codec>(&hero);
            }

            #[test]
            fn noise_is_an_error_at_worst(
                bytes in prop::collection::vec(any::<u8>(), 0..200),
                hero in heroes(),
                at in any::<usize>(),
                change in 1..=u8::MAX,
            ) {
                noise::<$codec>(&bytes, &hero, at, change);
            }
        }

        #[test]
        fn writing_takes_no_memory_but_the_bodys() {
            let hero = plain_hero();
            let mut body = Vec::with_capacity(1_024);
            let used = allocation_counter::measure(|| $codec::encode(&hero, &mut body).unwrap());
            assert_eq!(used.count_total, 0);
        }

        #[test]
        fn a_failure_takes_back_what_was_written() {
            a_failure_takes_back_what_it_wrote::<$codec>();
        }

        #[cfg(feature = "conformance")]
        #[test]
        fn the_codec_conforms() {
            yumen_core::conformance::codec::<$codec, Hero>(&seen());
        }
    };
}

#[cfg(feature = "json")]
mod json {
    use super::*;
    use yumen_core::codec::Json;

    properties!(Json);

    #[test]
    fn an_error_says_where_the_body_is_wrong() {
        let error = <Json as Decode<Hero>>::decode(b"{\n  \"name\": 1}").unwrap_err();
        let text = "json body: invalid type: integer `1`, expected a string at line 2 column 11";
        assert_eq!(error.to_string(), text);
    }

    #[test]
    fn depth_and_trailing_bytes_are_refused() {
        depth_is_refused::<Json>(b"[", b"{\"Box\":");
        assert!(<Json as Decode<u32>>::decode(b"1 2").is_err());
        assert_eq!(<Json as Decode<u32>>::decode(b" 1 \n"), Ok(1));
    }
}

#[cfg(feature = "msgpack")]
mod msgpack {
    use super::*;
    use yumen_core::codec::MsgPack;

    properties!(MsgPack);

    #[test]
    fn fields_are_written_by_name_and_read_either_way() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Point {
            x: u8,
            y: u8,
        }
        let mut body = Vec::new();
        MsgPack::encode(&Point { x: 1, y: 2 }, &mut body).unwrap();
        assert_eq!(body, b"\x82\xa1x\x01\xa1y\x02");
        // Another order, and a field that this version does not know.
        let named = b"\x83\xa1y\x02\xa1z\x91\xc0\xa1x\x01";
        assert_eq!(MsgPack::decode(named), Ok(Point { x: 1, y: 2 }));
        assert_eq!(MsgPack::decode(b"\x92\x01\x02"), Ok(Point { x: 1, y: 2 }));
    }

    #[test]
    fn an_error_says_what_or_where_the_body_is_wrong() {
        let error = <MsgPack as Decode<Hero>>::decode(b"\x81\xa4name").unwrap_err();
        assert_eq!(error.to_string(), "msgpack body: body ends at byte 6 inside a value");
        let error = <MsgPack as Decode<Hero>>::decode(b"\x80").unwrap_err();
        assert_eq!(error.to_string(), "msgpack body: missing field `name`");
    }

    #[test]
    fn depth_and_trailing_bytes_are_refused() {
        depth_is_refused::<MsgPack>(b"\x91", b"\x81\xa3Box");
        assert!(<MsgPack as Decode<u32>>::decode(b"\x01\x02").is_err());
        assert_eq!(<MsgPack as Decode<u32>>::decode(b"\x01"), Ok(1));
    }
}

#[cfg(all(feature = "json", feature = "msgpack"))]
mod chosen {
    use super::*;
    use yumen_core::codec::{CodecNameError, Json, MsgPack, SerdeCodec};

    #[test]
    fn a_codec_can_be_named_and_is_then_the_same_codec() {
        let [hero, _] = seen();
        let mut typed = [Vec::new(), Vec::new()];
        Json::encode(&hero, &mut typed[0]).unwrap();
        MsgPack::encode(&hero, &mut typed[1]).unwrap();
        for (name, typed) in ["json", "msgpack"].into_iter().zip(typed) {
            let codec: SerdeCodec = name.parse().unwrap();
            assert_eq!(codec.to_string(), name);
            let mut body = Vec::new();
            codec.encode(&hero, &mut body).unwrap();
            assert_eq!(body, typed);
            assert_eq!(codec.decode::<Hero>(&body).as_ref(), Ok(&hero));
        }
    }

    #[test]
    fn a_name_that_cannot_be_used_says_why() {
        let refused = |name: &str| name.parse::<SerdeCodec>().unwrap_err();
        assert_eq!(refused("proto"), CodecNameError::ByType { name: "proto" });
        let text = "no codec is called `JSON`; the names are json, msgpack, proto";
        assert_eq!(refused("JSON").to_string(), text);
    }
}
