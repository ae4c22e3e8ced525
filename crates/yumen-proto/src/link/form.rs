//! The forms that fields of a command take on the wire.
//!
//! A row of the table names one for each of its fields. A form never looks at bytes that are not
//! there, and counts in `usize`, so that no list is long enough to wrap an offset (W-08).

use super::{CHANNEL_MAX, Event, Kind, State, TARGETS_MAX, Target, TargetKind, Targets};
use crate::{
    extension::StatusReply,
    id::{ConnId, RouteId, UserId},
    read::Reader,
};

/// How a `T` is written.
pub(super) trait Form<'a, T> {
    /// Length of what [`Form::put`] appends, in bytes.
    fn len(value: &T) -> usize;

    /// Whether the form has room for the value.
    fn fits(_value: &T) -> bool {
        true
    }

    fn put(value: &T, out: &mut Vec<u8>);

    /// `None` if the bytes are not of this form.
    fn take(input: &mut Reader<'a>) -> Option<T>;
}

/// A number of fixed width.
pub(super) struct Number;

macro_rules! number {
    ($($type:ty: $len:literal, $read:ident, $value:ident => $to:expr, $number:ident => $from:expr;)*) => {$(
        impl Form<'_, $type> for Number {
            fn len(_: &$type) -> usize {
                $len
            }

            fn put($value: &$type, out: &mut Vec<u8>) {
                out.extend_from_slice(&$to.to_be_bytes());
            }

            fn take(input: &mut Reader<'_>) -> Option<$type> {
                let $number = input.$read()?;
                $from
            }
        }
    )*};
}

number! {
    ConnId: 8, i64, conn => conn.0, n => Some(ConnId(n));
    UserId: 8, i64, user => user.0, n => Some(UserId(n));
    RouteId: 4, i32, route => route.0, n => Some(RouteId(n));
    i32: 4, i32, value => value, n => Some(n);
    u32: 4, u32, value => value, n => Some(n);
    // One means yes and everything else no, as due reads it.
    bool: 1, u8, value => u8::from(*value), n => Some(n == 1);
    Kind: 1, u8, kind => kind.number(), n => Kind::from_number(n);
    State: 1, u8, state => state.number(), n => State::from_number(n);
    Event: 1, u8, event => event.number(), n => Event::from_number(n);
    TargetKind: 1, u8, kind => kind.number(), n => TargetKind::from_number(n);
    // Zero means nobody.
    Option<UserId>: 8, i64, user => user.map_or(0, |user| user.0), n => Some(UserId::from_wire(n));
}

/// A kind and a number.
pub(super) struct Named;

impl Form<'_, Target> for Named {
    fn len(_: &Target) -> usize {
        9
    }

    fn put(target: &Target, out: &mut Vec<u8>) {
        out.push(target.kind().number());
        out.extend_from_slice(&target.number().to_be_bytes());
    }

    fn take(input: &mut Reader<'_>) -> Option<Target> {
        let kind = TargetKind::from_number(input.u8()?)?;
        Some(Target::new(kind, input.i64()?))
    }
}

/// A number that is left out instead of being zero. Only as the last field.
pub(super) struct Omitted;

impl Form<'_, Option<UserId>> for Omitted {
    fn len(user: &Option<UserId>) -> usize {
        if user.is_some_and(|user| user.0 != 0) { 8 } else { 0 }
    }

    fn put(user: &Option<UserId>, out: &mut Vec<u8>) {
        if let Some(user) = user.filter(|user| user.0 != 0) {
            out.extend_from_slice(&user.0.to_be_bytes());
        }
    }

    fn take(input: &mut Reader<'_>) -> Option<Option<UserId>> {
        if input.0.is_empty() {
            return Some(None);
        }
        Some(UserId::from_wire(input.i64()?))
    }
}

/// A count of 16 bits and that many numbers.
pub(super) struct Counted;

impl<'a> Form<'a, Targets<'a>> for Counted {
    fn len(targets: &Targets<'a>) -> usize {
        targets.wire_len().saturating_add(2)
    }

    fn fits(targets: &Targets<'a>) -> bool {
        targets.len() <= TARGETS_MAX
    }

    fn put(targets: &Targets<'a>, out: &mut Vec<u8>) {
        let count = u16::try_from(targets.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        targets.encode(out);
    }

    fn take(input: &mut Reader<'a>) -> Option<Targets<'a>> {
        let count = usize::from(input.u16()?);
        Targets::from_wire(input.bytes(count.checked_mul(8)?)?)
    }
}

/// A length of 8 bits and a text.
pub(super) struct Short;

impl<'a> Form<'a, &'a str> for Short {
    fn len(text: &&'a str) -> usize {
        text.len().saturating_add(1)
    }

    fn fits(text: &&'a str) -> bool {
        text.len() <= CHANNEL_MAX
    }

    fn put(text: &&'a str, out: &mut Vec<u8>) {
        out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(text.as_bytes());
    }

    fn take(input: &mut Reader<'a>) -> Option<&'a str> {
        let len = usize::from(input.u8()?);
        std::str::from_utf8(input.bytes(len)?).ok()
    }
}

/// All that is left of the frame. Only as the last field.
pub(super) struct Rest;

impl<'a> Form<'a, &'a str> for Rest {
    fn len(text: &&'a str) -> usize {
        text.len()
    }

    fn put(text: &&'a str, out: &mut Vec<u8>) {
        out.extend_from_slice(text.as_bytes());
    }

    fn take(input: &mut Reader<'a>) -> Option<&'a str> {
        input.text()
    }
}

impl<'a> Form<'a, &'a [u8]> for Rest {
    fn len(bytes: &&'a [u8]) -> usize {
        bytes.len()
    }

    fn put(bytes: &&'a [u8], out: &mut Vec<u8>) {
        out.extend_from_slice(bytes);
    }

    fn take(input: &mut Reader<'a>) -> Option<&'a [u8]> {
        Some(input.rest())
    }
}

impl<'a> Form<'a, StatusReply<'a>> for Rest {
    fn len(reply: &StatusReply<'a>) -> usize {
        reply.wire_len()
    }

    fn put(reply: &StatusReply<'a>, out: &mut Vec<u8>) {
        reply.encode(out);
    }

    fn take(input: &mut Reader<'a>) -> Option<StatusReply<'a>> {
        StatusReply::parse(input.rest()).ok()
    }
}
