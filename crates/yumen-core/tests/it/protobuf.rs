//! The Protobuf codec: what is written is read, and no input is worse than an error.

use proptest::prelude::*;
use yumen_core::codec::{CodecError, Decode, Encode, Protobuf};

#[derive(Clone, PartialEq, prost::Message)]
struct Hero {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(sint64, tag = "2")]
    gold: i64,
    #[prost(double, tag = "3")]
    power: f64,
    #[prost(string, optional, tag = "4")]
    title: Option<String>,
    #[prost(uint32, repeated, tag = "5")]
    bag: Vec<u32>,
    #[prost(btree_map = "string, uint32", tag = "6")]
    skills: std::collections::BTreeMap<String, u32>,
    #[prost(message, optional, boxed, tag = "7")]
    mentor: Option<Box<Self>>,
}

fn heroes() -> impl Strategy<Value = Hero> {
    let text = || "\\PC{0,12}";
    let alone = (
        (text(), any::<i64>(), -1e9..1e9_f64),
        prop::option::of(text()),
        prop::collection::vec(any::<u32>(), 0..5),
        prop::collection::btree_map(text(), any::<u32>(), 0..4),
    )
        .prop_map(|((name, gold, power), title, bag, skills)| {
            let mentor = None;
            Hero { name, gold, power, title, bag, skills, mentor }
        });
    alone.prop_recursive(4, 4, 1, |inner| {
        inner.prop_map(|mentor| Hero { mentor: Some(Box::new(mentor)), ..Hero::default() })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(hero in heroes()) {
        let mut body = b"before".to_vec();
        Protobuf::encode(&hero, &mut body).unwrap();
        assert_eq!(body[..6], *b"before");
        assert_eq!(Protobuf::decode(&body[6..]), Ok(hero));
    }

    #[test]
    fn noise_is_an_error_at_worst(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        hero in heroes(),
        at in any::<usize>(),
        change in 1..=u8::MAX,
    ) {
        let bounded = |result: Result<Hero, CodecError>| {
            assert!(result.err().is_none_or(|e| e.detail().len() <= CodecError::DETAIL_MAX));
        };
        bounded(Protobuf::decode(&bytes));
        let mut body = Vec::new();
        Protobuf::encode(&hero, &mut body).unwrap();
        if let Some(at) = at.checked_rem(body.len()) {
            body[at] ^= change;
            bounded(Protobuf::decode(&body));
            body.truncate(at);
            bounded(Protobuf::decode(&body));
        }
    }
}

#[cfg(feature = "conformance")]
#[test]
fn the_codec_conforms() {
    let mentor = Hero { name: "阿达".to_owned(), gold: i64::MIN, ..Hero::default() };
    let hero = Hero { mentor: Some(mentor.into()), bag: vec![7; 300], ..Hero::default() };
    yumen_core::conformance::codec::<Protobuf, Hero>(&[Hero::default(), hero]);
}

#[test]
fn an_empty_body_is_a_message_of_defaults() {
    assert_eq!(Protobuf::decode(b""), Ok(Hero::default()));
}

#[test]
fn an_error_names_the_field() {
    let error = <Protobuf as Decode<Hero>>::decode(b"\x0a\x01\xff").unwrap_err();
    assert!(error.to_string().contains("Hero.name: invalid string value"), "{error}");
}

#[test]
fn depth_is_refused() {
    // Each level is the mentor of the one before: the field's key and the length of the rest.
    let mut body: Vec<u8> = Vec::new();
    for _ in 0..5_000 {
        let mut level = vec![0x3a];
        let mut len = body.len();
        while len >= 0x80 {
            level.push((len & 0x7f) as u8 | 0x80);
            len >>= 7;
        }
        level.push(len as u8);
        level.extend_from_slice(&body);
        body = level;
    }
    let error = <Protobuf as Decode<Hero>>::decode(&body).unwrap_err();
    assert!(error.to_string().contains("recursion limit reached"), "{error}");
}
