//! The link as a machine: who may speak, what due's see of us, and what is bounded.

use crate::{any_bytes, at, hex, start};
use proptest::prelude::*;
use std::sync::Arc;
use yumen_proto::{
    CloseReason, ConnId, Machine, Now, Out, UserId,
    link::{
        Command, Event, Farewell, Flow, Frame, HEARTBEAT, Kind, Lane, LinkConn, LinkEvent,
        LinkFault, LinkFeatures, LinkMark, LinkSettings, LinkTarget, Reply, Secret, State,
    },
};

const OLD: &str = "the old secret of the cluster";
const NEW: &str = "the new secret of the cluster";

/// One end, driven by hand.
pub(crate) struct Side {
    pub(crate) link: LinkConn,
    pub(crate) out: Out,
    pub(crate) events: Vec<String>,
    /// What `consumed` is to be told, frame by frame.
    lens: Vec<usize>,
    closed: Option<CloseReason>,
}

impl Side {
    fn new(link: LinkConn, out: Out) -> Self {
        Self { link, out, events: Vec::new(), lens: Vec::new(), closed: None }
    }

    /// `bytes` arrive with one read.
    pub(crate) fn hear(&mut self, now: Now, bytes: &[u8]) {
        if self.closed.is_some() {
            return;
        }
        let tail = self.link.tail_len();
        let mut scratch = vec![0; tail];
        scratch.extend_from_slice(bytes);
        let end = scratch.len();
        let mut input = self.link.join(now, &mut scratch, end);
        loop {
            match self.link.next(now, &mut input, &mut self.out) {
                Ok(None) => return,
                Ok(Some(LinkEvent::Frame { frame, len })) => {
                    self.events.push(format!("{frame:?}"));
                    self.lens.push(len);
                }
                Ok(Some(event)) => self.events.push(format!("{event:?}")),
                Err(reason) => {
                    self.link.close(now, reason, "".into(), &mut self.out);
                    self.closed = Some(reason);
                    return;
                }
            }
        }
    }

    pub(crate) fn says(&mut self) -> Vec<u8> {
        let bytes = self.out.pending().to_vec();
        let _ = self.out.accepted(bytes.len());
        bytes
    }

    fn send(&mut self, command: Command<'_>) {
        self.link.send(&Frame::Request { seq: 0, command }, &mut self.out).unwrap();
    }

    pub(crate) fn fault(&self) -> Option<LinkFault> {
        match self.closed {
            Some(CloseReason::Link(fault)) => Some(fault),
            Some(other) => panic!("{other:?}"),
            None => None,
        }
    }
}

/// Both talk until neither has anything to say.
pub(crate) fn settle(now: Now, a: &mut Side, b: &mut Side) {
    loop {
        let (from_a, from_b) = (a.says(), b.says());
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        b.hear(now, &from_a);
        a.hear(now, &from_b);
    }
}

fn settings(kind: Kind, id: &str, secrets: &[&str]) -> LinkSettings {
    let secrets = secrets.iter().map(|text| Secret::new(*text).unwrap()).collect();
    LinkSettings { cluster: "game".into(), secrets, ..LinkSettings::new(kind, id) }
}

pub(crate) fn gate(secrets: &[&str]) -> LinkSettings {
    settings(Kind::Gate, "gate-1", secrets)
}

pub(crate) fn node(secrets: &[&str]) -> LinkSettings {
    settings(Kind::Node, "node-1", secrets)
}

pub(crate) fn to_node() -> LinkTarget {
    LinkTarget {
        id: "node-1".into(),
        kind: Kind::Node,
        ours: true,
        lane: Lane::Data,
        mark: LinkMark::default(),
    }
}

pub(crate) fn dial(now: Now, settings: LinkSettings, target: LinkTarget) -> Side {
    let mut out = Out::default();
    let link = LinkConn::dial(Arc::new(settings), now, target, [1; 32], &mut out).unwrap();
    Side::new(link, out)
}

pub(crate) fn accept(now: Now, settings: LinkSettings) -> Side {
    Side::new(
        LinkConn::accept(Arc::new(settings), now, LinkMark::default(), [2; 32]),
        Out::default(),
    )
}

/// A gate of ours has dialled a node of ours, and they have talked.
pub(crate) fn pair(now: Now, gate: LinkSettings, node: LinkSettings) -> (Side, Side) {
    let (mut gate, mut node) = (dial(now, gate, to_node()), accept(now, node));
    settle(now, &mut gate, &mut node);
    (gate, node)
}

fn deliver(packet: &[u8]) -> Command<'_> {
    Command::Deliver { conn: ConnId(7), user: Some(UserId(5)), packet }
}

fn bytes(flow: Flow, frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode_as(flow, &mut bytes).unwrap();
    bytes
}

/// What one of due's says first.
fn due_handshake() -> Vec<u8> {
    let command = Command::Handshake { kind: Kind::Gate, id: "gate-1" };
    bytes(Flow::Requests, &Frame::Request { seq: 1, command })
}

#[test]
fn two_of_ours_know_each_other_and_talk_both_ways() {
    for secrets in [&[][..], &[OLD]] {
        let now = start();
        let (mut gate, mut node) = pair(now, gate(secrets), node(secrets));
        assert_eq!(
            (&gate.events[..], &node.events[..]),
            (&["Up".to_owned()][..], &["Up".to_owned()][..])
        );
        assert_eq!((&*gate.link.peer().id, gate.link.peer().kind), ("node-1", Kind::Node));
        assert_eq!((&*node.link.peer().id, node.link.peer().kind), ("gate-1", Kind::Gate));
        let proved = gate.link.peer().features.has(LinkFeatures::AUTHENTICATION);
        assert_eq!(proved, !secrets.is_empty());
        gate.send(deliver(b"up"));
        node.send(Command::Consumed { conn: ConnId(7), bytes: 2 });
        settle(now, &mut gate, &mut node);
        assert!(node.events[1].contains("Deliver"), "{:?}", node.events);
        assert!(gate.events[1].contains("Consumed"), "{:?}", gate.events);
    }
}

#[test]
fn the_first_words_are_those_of_the_contract() {
    let now = start();
    let mut gate = dial(now, gate(&[]), to_node());
    let words = gate.says();
    let (handshake, announcement) = words.split_at(4 + 11 + "gate-1".len());
    assert_eq!(handshake, due_handshake());
    let golden = hex(concat!(
        "00000049 81 59554d45 01 0000001e",
        "0101010101010101 0101010101010101 0101010101010101 0101010101010101 00",
        "01 0006 676174652d31 02 0004 67616d65 03 0004 00400000 04 0004 00100000",
    ));
    assert_eq!(announcement, golden);
}

#[test]
fn w10_whoever_has_another_secret_is_refused_by_both_roles() {
    let now = start();
    let (gate, node) = pair(now, gate(&[OLD]), node(&[NEW]));
    assert_eq!(gate.fault(), Some(LinkFault::BadProof), "the server proves first");
    assert!(node.events.is_empty());

    // A dialler that does not care who it talks to still has to prove itself.
    let mut node = accept(now, self::node(&[NEW]));
    let mut liar = dial(now, self::gate(&[OLD]), to_node());
    node.hear(now, &liar.says());
    node.hear(now, &[&[0, 0, 0, 33, 0x82][..], &[9; 32]].concat());
    assert_eq!(node.fault(), Some(LinkFault::BadProof));
    assert!(node.events.is_empty(), "{:?}", node.events);
}

#[test]
fn w10_no_command_is_accepted_before_the_proof() {
    let now = start();
    let command =
        Frame::Request { seq: 9, command: Command::Bind { conn: ConnId(1), user: UserId(1) } };
    let bind = bytes(Flow::Requests, &command);
    let mut announced = dial(now, gate(&[OLD]), to_node());
    let announced = announced.says();
    for first in [Vec::new(), due_handshake(), announced] {
        let mut node = accept(now, node(&[OLD]));
        node.hear(now, &first);
        node.hear(now, &bind);
        assert_eq!(node.fault(), Some(LinkFault::Stranger));
        assert!(node.events.is_empty(), "{:?}", node.events);
    }
}

/// Both computed by another implementation of HMAC-SHA-256, from the contract's text.
#[test]
fn the_proofs_are_those_of_the_contract() {
    let now = start();
    let (mut gate, mut node) = (dial(now, gate(&[OLD]), to_node()), accept(now, node(&[OLD])));
    node.hear(now, &gate.says());
    let answer = node.says();
    let server = hex("ab94c589588ca565d48ba086e84123fe8933cd29e15a725095c8ce8436785569");
    assert_eq!(answer[answer.len() - 32..], server);
    gate.hear(now, &answer);
    let client =
        hex("00000021 82 25ce0e661f7fea987f87f2f6ce3b1cdf6714020994296c80445d239b9e4d90f3");
    assert_eq!(gate.says(), client);
}

#[test]
fn an_announcement_without_an_id_is_none() {
    let mut end = accept(start(), node(&[]));
    end.hear(start(), &due_handshake());
    let tail = hex(
        "59554d45 01 0000001e 0000000000000000000000000000000000000000000000000000000000000000 00",
    );
    end.hear(start(), &[&[0, 0, 0, 43, 0x81][..], &tail].concat());
    assert_eq!(end.fault(), Some(LinkFault::BadHandshake));
}

#[test]
fn a_secret_changes_without_a_gap() {
    // Behind the old one everywhere; then in front, one by one; then alone, one by one.
    let steps = [&[OLD][..], &[OLD, NEW], &[NEW, OLD], &[NEW]];
    for near in steps.windows(2) {
        for (dialler, server) in [(near[0], near[1]), (near[1], near[0]), (near[1], near[1])] {
            let (gate, node) = pair(start(), gate(dialler), node(server));
            assert_eq!((gate.fault(), node.fault()), (None, None), "{dialler:?} {server:?}");
            assert!(gate.link.is_up() && node.link.is_up());
        }
    }
}

#[test]
fn who_lacks_the_secret_is_told_so_on_both_sides() {
    let (gate_end, node_end) = pair(start(), gate(&[]), node(&[OLD]));
    assert_eq!(gate_end.fault(), Some(LinkFault::SecretNeeded));
    assert_eq!(node_end.fault(), Some(LinkFault::Unproven));
    let (gate_end, _) = pair(start(), gate(&[OLD]), node(&[]));
    assert_eq!(gate_end.fault(), Some(LinkFault::Unproven));
}

#[test]
fn another_cluster_and_another_instance_are_named() {
    let other = LinkSettings { cluster: "other".into(), ..node(&[]) };
    let (gate_end, node_end) = pair(start(), gate(&[]), other);
    assert_eq!(gate_end.fault(), Some(LinkFault::WrongCluster));
    assert_eq!(node_end.fault(), Some(LinkFault::WrongCluster));
    let (gate_end, _) = pair(start(), gate(&[]), settings(Kind::Node, "node-2", &[]));
    assert_eq!(gate_end.fault(), Some(LinkFault::WrongPeer));
}

#[test]
fn one_of_dues_that_dials_sees_one_of_dues() {
    let now = start();
    let mut node = accept(now, node(&[]));
    let packet = hex("00000007 00 0001 0001 6869");
    let frame = Frame::Request { seq: 0, command: deliver(&packet) };
    let heard = [due_handshake(), HEARTBEAT.to_vec(), bytes(Flow::Requests, &frame)].concat();
    node.hear(now, &heard);
    assert_eq!(node.events.len(), 2, "{:?}", node.events);
    assert!(!node.link.peer().ours && node.link.flow() == Flow::Replies);
    let answer = Frame::Reply { seq: 3, route: 16, code: 0, reply: Reply::State(State::Work) };
    node.link.send(&answer, &mut node.out).unwrap();
    // Its own words are answered, heartbeats are not, and nothing of ours is said; not in a minute.
    for second in 1..=60 {
        node.hear(at(now, second * 1000), &HEARTBEAT);
        node.link.on_deadline(at(now, second * 1000), &mut node.out).unwrap();
    }
    let expected =
        hex("0000000c 00 01 0000000000000001 0000 0000000d 00 10 0000000000000003 0000 01");
    assert_eq!(node.says(), expected);
    assert!(
        node.link.send(&Frame::Request { seq: 0, command: deliver(b"") }, &mut node.out).is_err()
    );
}

#[test]
fn one_of_dues_that_is_dialled_hears_what_due_says() {
    let now = start();
    let target = LinkTarget { ours: false, ..to_node() };
    let mut gate_end = dial(now, gate(&[]), target.clone());
    assert_eq!(gate_end.says(), due_handshake());
    gate_end.hear(now, &hex("0000000c 00 01 0000000000000001 0000"));
    assert_eq!(gate_end.events, ["Up"]);
    let ours = Frame::Request { seq: 0, command: Command::Consumed { conn: ConnId(1), bytes: 1 } };
    assert!(gate_end.link.send(&ours, &mut gate_end.out).is_err(), "a command of ours");
    gate_end.hear(now, &hex("00000003 84 0001"));
    assert_eq!(gate_end.events.len(), 1, "to due a farewell is a heartbeat, so from due it is one");
    // It never says anything by itself, and is not given up for that.
    for second in 1..=60 {
        gate_end.link.on_deadline(at(now, second * 1000), &mut gate_end.out).unwrap();
    }
    assert_eq!(gate_end.says(), HEARTBEAT.repeat(6));
    let refused = LinkConn::dial(Arc::new(gate(&[OLD])), now, target, [1; 32], &mut Out::default());
    assert_eq!(refused.err(), Some(LinkFault::Unproven), "unless such peers are accepted");
}

#[test]
fn a_short_reply_to_a_publish_swallows_nothing() {
    let now = start();
    let mut node = dial(now, node(&[]), LinkTarget { ours: false, ..to_node() });
    node.hear(now, &hex("0000000c 00 01 0000000000000001 0000"));
    let wire = hex(concat!(
        "00000014 00 0b 0000000000000005 0000",
        "0000000c 00 08 0000000000000006 0000",
        "00000014 00 0b 0000000000000007 0000 0000000000000003",
    ));
    for cut in 0..wire.len() {
        node.events.clear();
        node.hear(now, &wire[..cut]);
        node.hear(now, &wire[cut..]);
        assert_eq!(node.fault(), None, "cut at {cut}");
        let events = node.events.join(" ");
        assert!(events.contains("seq: 5, route: 11, code: 0, reply: Total(0)"), "{cut}: {events}");
        assert!(events.contains("seq: 6"), "{cut}: {events}");
        // The last one is in doubt if the read ends behind its code.
        assert!(events.contains("Total(3)") || cut == wire.len() - 8, "{cut}: {events}");
    }
}

#[test]
fn silence_ends_a_handshake_at_its_limit_and_not_before() {
    let now = start();
    let ends = [dial(now, gate(&[]), to_node()), accept(now, node(&[])), {
        let mut known = accept(now, node(&[OLD]));
        known.hear(now, &due_handshake());
        known
    }];
    for mut end in ends {
        end.hear(at(now, 2900), &HEARTBEAT);
        assert_eq!(end.link.on_deadline(at(now, 2999), &mut end.out), Ok(()));
        let ended = end.link.on_deadline(at(now, 3000), &mut end.out);
        assert_eq!(ended, Err(CloseReason::Link(LinkFault::Silent)));
    }
}

#[test]
fn two_of_ours_send_heartbeats_and_notice_silence() {
    let now = start();
    let (mut gate, mut node) = pair(now, gate(&[]), node(&[]));
    for second in 1..=100 {
        let now = at(now, second * 1000);
        gate.link.on_deadline(now, &mut gate.out).unwrap();
        node.link.on_deadline(now, &mut node.out).unwrap();
        settle(now, &mut gate, &mut node);
    }
    // The last heartbeats came at 100 s: between two of ours there is one each second.
    assert_eq!(gate.link.silence(at(now, 103_000).mono), std::time::Duration::from_secs(3));
    assert_eq!(gate.link.on_deadline(at(now, 119_999), &mut gate.out), Ok(()));
    assert_eq!(gate.link.on_deadline(at(now, 120_000), &mut gate.out), Err(CloseReason::Idle));
    assert_eq!(node.link.on_deadline(at(now, 119_999), &mut node.out), Ok(()));
    assert_eq!(node.link.on_deadline(at(now, 120_000), &mut node.out), Err(CloseReason::Idle));
}

#[test]
fn room_is_used_up_and_given_back() {
    let now = start();
    let small = LinkSettings { window: 1000, ..node(&[]) };
    let (mut gate, mut node) = pair(now, gate(&[]), small);
    let mut sent = 0;
    while gate.link.has_room() {
        gate.send(deliver(&[0; 70]));
        sent += 1;
    }
    assert_eq!(sent, 10, "frames of 100 bytes");
    settle(now, &mut gate, &mut node);
    assert_eq!(std::mem::take(&mut node.lens), [100; 10]);
    node.link.consumed(100, &mut node.out);
    node.link.consumed(100, &mut node.out);
    assert!(node.says().is_empty(), "a credit for each frame would cost as much as the frames");
    node.link.consumed(100, &mut node.out);
    settle(now, &mut gate, &mut node);
    assert_eq!(gate.events.last().unwrap(), "Room");
    for _ in 0..3 {
        assert!(gate.link.has_room());
        gate.send(deliver(&[0; 70]));
    }
    assert!(!gate.link.has_room());
    // And so on: what was given back is not counted against the peer for ever.
    for _ in 0..20_000 {
        settle(now, &mut gate, &mut node);
        node.lens.drain(..).for_each(|len| node.link.consumed(len, &mut node.out));
        settle(now, &mut gate, &mut node);
        while gate.link.has_room() {
            gate.send(deliver(&[0; 70]));
        }
    }
    assert_eq!((gate.fault(), node.fault()), (None, None));
}

#[test]
fn a_peer_that_ignores_its_credits_is_cut_off() {
    let now = start();
    let small = LinkSettings { window: 1000, frame_max: 200, ..node(&[]) };
    let (mut gate, mut node) = pair(now, gate(&[]), small);
    for _ in 0..12 {
        gate.send(deliver(&[0; 70]));
    }
    settle(now, &mut gate, &mut node);
    assert_eq!(node.fault(), None, "one frame too many is within the rules");
    gate.send(deliver(&[0; 70]));
    settle(now, &mut gate, &mut node);
    assert_eq!(node.fault(), Some(LinkFault::Overrun));
}

#[test]
fn control_needs_no_room() {
    let now = start();
    let small = LinkSettings { window: 10, ..node(&[]) };
    let mut gate = dial(now, gate(&[]), LinkTarget { lane: Lane::Control, ..to_node() });
    let mut node = accept(now, small);
    settle(now, &mut gate, &mut node);
    assert_eq!(node.link.lane(), Lane::Control);
    for _ in 0..1000 {
        assert!(gate.link.has_room());
        gate.send(Command::SetState { state: State::Hang });
    }
    settle(now, &mut gate, &mut node);
    assert_eq!((node.fault(), node.events.len()), (None, 1001));
}

#[test]
fn a_frame_that_the_peer_would_refuse_is_not_sent() {
    let now = start();
    let (mut gate, _) = pair(now, gate(&[]), LinkSettings { frame_max: 200, ..node(&[]) });
    let large = Frame::Request { seq: 0, command: deliver(&[0; 200]) };
    assert!(gate.link.send(&large, &mut gate.out).is_err());
    assert!(gate.says().is_empty());
}

#[test]
fn a_frame_put_back_comes_again_and_counts_once() {
    let now = start();
    let small = LinkSettings { window: 1000, frame_max: 200, ..node(&[]) };
    let (mut gate, mut node) = pair(now, gate(&[]), small);
    gate.link.consumed(2 * 1024 * 1024, &mut gate.out); // a credit in front of the frame
    gate.send(deliver(&[0; 70]));
    let mut scratch = gate.says();
    for _ in 0..50 {
        let end = scratch.len();
        let input = node.link.join(now, &mut scratch, end);
        let (before, mut after) = (input, input);
        let event = node.link.next(now, &mut after, &mut node.out).unwrap();
        assert!(matches!(event, Some(LinkEvent::Frame { len: 100, .. })), "{event:?}");
        node.link.hold(before, after);
        scratch = vec![0; node.link.tail_len()];
        assert_eq!(scratch.len(), 100, "the credit is not kept");
    }
}

#[test]
fn a_farewell_is_heard_and_due_never_hears_one() {
    let now = start();
    let (mut gate_end, mut node_end) = pair(now, gate(&[]), node(&[]));
    node_end.link.close(now, CloseReason::Shutdown, "".into(), &mut node_end.out);
    gate_end.hear(now, &node_end.says());
    assert_eq!(gate_end.events.last().unwrap(), "Farewell(Leaving)");
    let mut node_end = accept(now, node(&[]));
    node_end.hear(now, &due_handshake());
    node_end.says();
    node_end.link.farewell(Farewell::Leaving, &mut node_end.out);
    node_end.link.close(now, CloseReason::Shutdown, "".into(), &mut node_end.out);
    assert!(node_end.says().is_empty());
}

#[test]
fn an_unknown_command_costs_its_sender_nothing_but_a_count() {
    let now = start();
    let (mut gate, mut node) =
        pair(now, gate(&[]), LinkSettings { window: 1000, frame_max: 200, ..node(&[]) });
    for _ in 0..100 {
        node.hear(now, &hex("0000000e 00 c8 0000000000000001 00000000"));
    }
    assert_eq!((node.fault(), node.link.skipped()), (None, 100));
    gate.hear(now, &node.says());
    assert_eq!(gate.fault(), None);
    assert!(gate.link.has_room());
}

/// A whole conversation as one side heard it: the handshake, and frames of every kind.
fn conversation(now: Now) -> Vec<u8> {
    let mut gate = dial(now, gate(&[OLD]), to_node());
    let mut node = accept(now, node(&[OLD]));
    let mut heard = gate.says();
    node.hear(now, &heard);
    gate.hear(now, &node.says());
    for packet in [&b""[..], b"one", &[7; 300]] {
        gate.send(deliver(packet));
        gate.send(Command::Trigger { event: Event::Connect, conn: ConnId(7), user: None });
    }
    gate.link.farewell(Farewell::Leaving, &mut gate.out);
    heard.extend(gate.says());
    heard
}

proptest! {
    #[test]
    fn any_cut_of_the_stream_tells_the_same(cuts in prop::collection::vec(1..60_usize, 1..40)) {
        let now = start();
        let wire = conversation(now);
        let mut whole = accept(now, node(&[OLD]));
        whole.hear(now, &wire);
        prop_assert_eq!(whole.events.len(), 8, "{:?}", whole.events);
        let mut cut = accept(now, node(&[OLD]));
        let mut rest = &wire[..];
        for len in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at(rest.len().min(*len));
            cut.hear(now, piece);
            rest = behind;
        }
        prop_assert_eq!(cut.events, whole.events);
        prop_assert_eq!(cut.link.held(), 0);
    }

    #[test]
    fn no_bytes_make_a_link_panic_or_keep_more_than_a_frame(
        pieces in prop::collection::vec(any_bytes(80), 0..20),
        server in any::<bool>(),
        up in any::<bool>(),
    ) {
        let now = start();
        let small = |settings: LinkSettings| LinkSettings { frame_max: 256, ..settings };
        let mut end = if server { accept(now, small(node(&[]))) } else { dial(now, small(gate(&[])), to_node()) };
        if up {
            let (gate, node) = pair(now, small(gate(&[])), small(node(&[])));
            end = if server { node } else { gate };
        }
        for piece in &pieces {
            end.hear(now, piece);
            prop_assert!(end.link.tail_len() < 1100, "{}", end.link.tail_len());
        }
    }

    #[test]
    fn any_sequence_of_operations_keeps_the_promises(script in any_bytes(600)) {
        yumen_proto::testing::link_ops(&script, start().mono);
    }

    /// Mostly what a link is for: both ends write, read, send and give room back.
    #[test]
    fn commands_arrive_once_and_in_order_in_any_weather(
        kind in 0..8_u8,
        weather in any::<u8>(),
        steps in prop::collection::vec((0..12_usize, any::<u8>()), 0..400),
    ) {
        let meet = [4, 1, 0, 2, 6, 9, 5, 1, 0, 2, 7, 9, 4, 1, 0, 2, 6, 9];
        let mut script = vec![kind, 0xe0 | weather & 7];
        script.extend(meet);
        script[1] = if weather & 8 == 0 { script[1] } else { weather };
        for (step, argument) in steps {
            let op = [2, 3, 4, 5, 6, 7, 8, 9, 0, 2, 6, 7][step];
            // Time passes in small steps, or nothing would outlive the handshake.
            script.extend([op, if op == 0 { argument % 4 } else { argument }]);
        }
        yumen_proto::testing::link_ops(&script, start().mono);
    }
}
