//! The serde forms of the registry record's members that differ from what a derive gives.
//!
//! Never fails on something a newer or an older writer might have meant, except where the
//! record would be of no use: without an id, or of a kind we do not know.

use serde::{Deserialize, Deserializer};
use yumen_proto::RouteId;

/// A member that another writer may have set to `null`, which means empty.
pub(super) fn or_empty<'de, D, T>(input: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(input)?.unwrap_or_default())
}

/// A weight, brought into range.
pub(super) fn weight<'de, D: Deserializer<'de>>(input: D) -> Result<u32, D::Error> {
    let stated = Option::<i64>::deserialize(input)?.unwrap_or(0).max(0);
    Ok(u32::try_from(stated).unwrap_or(u32::MAX))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
pub(super) fn is_zero(weight: &u32) -> bool {
    *weight == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
pub(super) fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
pub(super) fn is_no_route(route: &RouteId) -> bool {
    route.0 == 0
}

pub(super) mod id {
    //! An instance id: a text that is not empty.

    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use yumen_proto::InstanceId;

    pub(in super::super) fn serialize<S: Serializer>(
        id: &InstanceId,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.serialize_str(id.as_str())
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<InstanceId, D::Error> {
        match String::deserialize(input)? {
            id if id.is_empty() => Err(D::Error::custom("instance id is empty")),
            id => Ok(id.into()),
        }
    }
}

pub(super) mod kind {
    //! A kind as its word.

    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use yumen_proto::link::Kind;

    const WORDS: [(Kind, &str); 4] = [
        (Kind::Gate, "gate"),
        (Kind::Node, "node"),
        (Kind::Mesh, "mesh"),
        (Kind::Master, "master"),
    ];

    pub(in super::super) const fn word(kind: Kind) -> &'static str {
        match kind {
            Kind::Gate => "gate",
            Kind::Node => "node",
            Kind::Mesh => "mesh",
            Kind::Master => "master",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    pub(in super::super) fn serialize<S: Serializer>(
        kind: &Kind,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.serialize_str(word(*kind))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Kind, D::Error> {
        let text = String::deserialize(input)?;
        let known = WORDS.iter().find(|(_, word)| *word == text);
        known
            .map(|(kind, _)| *kind)
            .ok_or_else(|| D::Error::unknown_variant(&text, &["gate", "node", "mesh", "master"]))
    }
}

pub(super) mod state {
    //! A state as its word.

    use serde::{Deserialize, Deserializer, Serializer};
    use yumen_proto::link::State;

    /// What a record without a state means: it can be reached, but nothing new is given to it.
    pub(in super::super) const fn missing() -> State {
        State::Shut
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    pub(in super::super) fn serialize<S: Serializer>(
        state: &State,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.serialize_str(match state {
            State::Shut => "shut",
            State::Work => "work",
            State::Busy => "busy",
            State::Hang => "hang",
        })
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<State, D::Error> {
        Ok(match Option::<String>::deserialize(input)?.as_deref() {
            Some("work") => State::Work,
            Some("busy") => State::Busy,
            Some("hang") => State::Hang,
            _ => State::Shut,
        })
    }
}

pub(super) mod events {
    //! Events as a list of numbers.

    use serde::{Deserialize, Deserializer, Serializer};
    use yumen_proto::link::Event;

    pub(in super::super) fn serialize<S: Serializer>(
        events: &[Event],
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.collect_seq(events.iter().map(|event| event.number()))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<Vec<Event>, D::Error> {
        let numbers = Option::<Vec<i64>>::deserialize(input)?.unwrap_or_default();
        let known = |number: i64| u8::try_from(number).ok().and_then(Event::from_number);
        Ok(numbers.into_iter().filter_map(known).collect())
    }
}

pub(super) mod route {
    //! A route id as its number.

    use serde::{Deserialize, Deserializer, Serializer};
    use yumen_proto::RouteId;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde calls")]
    pub(in super::super) fn serialize<S: Serializer>(
        route: &RouteId,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.serialize_i32(route.0)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<RouteId, D::Error> {
        i32::deserialize(input).map(RouteId)
    }
}
