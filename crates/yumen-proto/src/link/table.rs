//! The table of commands: one row says everything about one.
//!
//! Codes up to 17 are due's and written as due writes them, byte for byte. Codes from
//! [`OURS`] on are never written to a due peer, which would leave them unanswered. To add a command,
//! add a row: its name, code, label and answer; then its fields in the order of the wire, each with
//! its form. `@header disconnect` adds the flag that due keeps in the frame's header.

use super::{
    Event, Kind, State, Target, TargetKind, Targets,
    form::{Counted, Form, Named, Number, Omitted, Rest, Short},
};
use crate::{
    extension::StatusReply,
    id::{ConnId, RouteId, UserId},
    read::Reader,
};

/// The first code that is ours.
pub const OURS: u8 = 64;

/// What a reply carries behind its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Done,
    /// An IPv4 address, if there is one.
    Ip,
    /// An address of either version and a port, if there is one.
    Address,
    /// A number, left out if zero.
    Total,
    /// Yes or no.
    Online,
    /// The state of the instance.
    State,
}

/// What is known about every command of one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The code, which due calls the route.
    pub code: u8,
    /// Name for metrics and logs.
    pub name: &'static str,
    /// What a reply carries.
    pub answer: Answer,
}

macro_rules! commands {
    ($(
        $(#[$doc:meta])*
        $name:ident = $code:literal, $label:literal, $answer:ident
        $({
            $($(#[$field_doc:meta])* $field:ident: $type:ty as $form:ty,)*
            $(@header $flag:ident,)?
        })?
    )*) => {
        /// What one instance asks of another. A `packet` is a whole client packet, its size field
        /// included.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Command<'a> {
            $(
                $(#[$doc])*
                $name $({
                    $($(#[$field_doc])* $field: $type,)*
                    $(
                        /// Whether to close the connections that were served, once all is written.
                        $flag: bool,
                    )?
                })?,
            )*
        }

        /// All rows, in the order of their codes.
        pub const ROWS: &[Row] = &[
            $(Row { code: $code, name: $label, answer: Answer::$answer },)*
        ];

        /// The row of that code.
        pub const fn row(code: u8) -> Option<&'static Row> {
            match code {
                $($code => Some(&Row { code: $code, name: $label, answer: Answer::$answer }),)*
                _ => None,
            }
        }

        impl<'a> Command<'a> {
            /// What is known about every command of this code.
            pub const fn row(&self) -> &'static Row {
                match self {
                    $(Self::$name { .. } => &Row {
                        code: $code,
                        name: $label,
                        answer: Answer::$answer,
                    },)*
                }
            }

            /// Length of the payload behind the frame's head, in bytes.
            pub(super) fn payload_len(&self) -> usize {
                match self {
                    $(Self::$name $({ $($field,)* .. })? => {
                        0_usize $($(
                            .saturating_add(<$form as Form<'a, $type>>::len($field))
                        )*)?
                    })*
                }
            }

            /// Whether every field fits its form.
            pub(super) fn fits(&self) -> bool {
                match self {
                    $(Self::$name $({ $($field,)* .. })? => {
                        true $($(&& <$form as Form<'a, $type>>::fits($field))*)?
                    })*
                }
            }

            /// The flag in the frame's header.
            pub(super) fn disconnects(&self) -> bool {
                match self {
                    $(Self::$name $({ $($flag,)? .. })? => false $($(|| *$flag)?)?,)*
                }
            }

            /// Appends the payload behind the frame's head.
            pub(super) fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name $({ $($field,)* .. })? => {
                        $($(<$form as Form<'a, $type>>::put($field, out);)*)?
                    })*
                }
            }

            /// Reads a payload; `None` if it is not of the form that its code demands.
            pub(super) fn decode(code: u8, disconnects: bool, input: Reader<'a>) -> Option<Self> {
                let mut input = input;
                let _ = disconnects;
                let command = match code {
                    $($code => Self::$name $({
                        $($field: <$form as Form<'a, $type>>::take(&mut input)?,)*
                        $($flag: disconnects,)?
                    })?,)*
                    _ => return None,
                };
                input.end(command)
            }
        }
    };
}

commands! {
    /// Says who dialled; the first frame of a connection.
    Handshake = 1, "handshake", Done {
        /// What the dialler is.
        kind: Kind as Number,
        /// Its instance id.
        id: &'a str as Rest,
    }

    /// Binds a user to a connection of the gate.
    Bind = 2, "bind", Done {
        /// The connection.
        conn: ConnId as Number,
        /// The user; the gate refuses numbers below 1.
        user: UserId as Number,
    }

    /// Undoes [`Command::Bind`].
    Unbind = 3, "unbind", Done {
        /// The user.
        user: UserId as Number,
    }

    /// Asks for a client's IPv4 address.
    GetIp = 4, "get_ip", Ip {
        /// The client.
        target: Target as Named,
    }

    /// Asks how many connections or users the gate has.
    Stat = 5, "stat", Total {
        /// Which of the two.
        kind: TargetKind as Number,
    }

    /// Asks whether a client is connected.
    IsOnline = 6, "is_online", Online {
        /// The client.
        target: Target as Named,
    }

    /// Closes a client's connection.
    Disconnect = 7, "disconnect", Done {
        /// The client.
        target: Target as Named,
        /// Whether what is queued is thrown away.
        force: bool as Number,
    }

    /// Sends a packet to one client.
    Push = 8, "push", Done {
        /// The client.
        target: Target as Named,
        /// What to send.
        packet: &'a [u8] as Rest,
        @header disconnect,
    }

    /// Sends a packet to some clients.
    Multicast = 9, "multicast", Total {
        /// What the targets stand for.
        kind: TargetKind as Number,
        /// The clients; at most [`super::TARGETS_MAX`], to a due peer [`super::TARGETS_MAX_DUE`].
        targets: Targets<'a> as Counted,
        /// What to send.
        packet: &'a [u8] as Rest,
        @header disconnect,
    }

    /// Sends a packet to all clients.
    Broadcast = 10, "broadcast", Total {
        /// Whether to all connections, or to all that have a user.
        kind: TargetKind as Number,
        /// What to send.
        packet: &'a [u8] as Rest,
        @header disconnect,
    }

    /// Sends a packet to all subscribers of a channel.
    Publish = 11, "publish", Total {
        /// The channel; at most [`super::CHANNEL_MAX`] bytes, to a due peer
        /// [`super::CHANNEL_MAX_DUE`].
        channel: &'a str as Short,
        /// What to send.
        packet: &'a [u8] as Rest,
        @header disconnect,
    }

    /// Subscribes clients to a channel.
    Subscribe = 12, "subscribe", Done {
        /// What the targets stand for.
        kind: TargetKind as Number,
        /// The clients; as many as for [`Command::Multicast`].
        targets: Targets<'a> as Counted,
        /// The channel.
        channel: &'a str as Rest,
    }

    /// Undoes [`Command::Subscribe`].
    Unsubscribe = 13, "unsubscribe", Done {
        /// What the targets stand for.
        kind: TargetKind as Number,
        /// The clients; as many as for [`Command::Multicast`].
        targets: Targets<'a> as Counted,
        /// The channel.
        channel: &'a str as Rest,
    }

    /// Tells a node what happened to a connection.
    Trigger = 14, "trigger", Done {
        /// What happened.
        event: Event as Number,
        /// The connection.
        conn: ConnId as Number,
        /// Its user, if there is one.
        user: Option<UserId> as Omitted,
    }

    /// Gives a client's packet to a node.
    Deliver = 15, "deliver", Done {
        /// The connection it came from; 0 from another node.
        conn: ConnId as Number,
        /// Its user, if there is one.
        user: Option<UserId> as Number,
        /// What the client sent.
        packet: &'a [u8] as Rest,
    }

    /// Asks for the state of the instance.
    GetState = 16, "get_state", State

    /// Sets the state of the instance.
    SetState = 17, "set_state", Done {
        /// The new state.
        state: State as Number,
    }

    /// Ours: tells a client, through its gate, that a request was refused.
    Status = 64, "status", Done {
        /// The connection it came from.
        conn: ConnId as Number,
        /// The request's route.
        route: RouteId as Number,
        /// The request's sequence number.
        seq: i32 as Number,
        /// How it was refused.
        reply: StatusReply<'a> as Rest,
    }

    /// Ours: tells a gate that the node is done with that much of a connection's messages.
    Consumed = 65, "consumed", Done {
        /// The connection.
        conn: ConnId as Number,
        /// How much, in bytes of whole packets.
        bytes: u32 as Number,
    }

    /// Ours: asks for a client's address and port, IPv6 included.
    Address = 66, "address", Address {
        /// The client.
        target: Target as Named,
    }

    /// Ours: gives a client's packet to the node that owns its user, on behalf of whoever had it.
    Relay = 67, "relay", Done {
        /// The connection it came from; 0 from another node.
        conn: ConnId as Number,
        /// Its user, if there is one.
        user: Option<UserId> as Number,
        /// The id of the gate or node that it came from, which is answered; at most 255 bytes.
        origin: &'a str as Short,
        /// What the client sent.
        packet: &'a [u8] as Rest,
    }

    /// Ours: gives a packet back to its gate, because the user is bound to another node. The gate sends
    /// it there, and counts it as done here.
    HandBack = 68, "hand_back", Done {
        /// The connection it came from.
        conn: ConnId as Number,
        /// What the client sent.
        packet: &'a [u8] as Rest,
    }
}

impl Command<'_> {
    /// The code on the wire, which due calls the route.
    pub const fn code(&self) -> u8 {
        self.row().code
    }

    /// Name for metrics and logs.
    pub const fn name(&self) -> &'static str {
        self.row().name
    }
}
