//! What two of ours say of their lives, processes and dials, and how a server decides.

use crate::{
    hex,
    link_conn::{accept, dial, gate, node, pair, settle, to_node},
    start,
};
use proptest::prelude::*;
use yumen_proto::{
    Machine,
    link::{
        Farewell, Lane, LinkAnnounce, LinkConn, LinkFault, LinkFeatures, LinkMark, LinkTarget,
        NONCE_LEN,
    },
};

const SECRET: &str = "a secret of the cluster";

const MARK: LinkMark = LinkMark { life: 7, run: 0x0a0b, dial: 0x0c0d, last: 0x0e0f };

#[test]
fn a_mark_is_announced_in_fields_of_its_own() {
    let mut gate = dial(start(), gate(&[]), LinkTarget { mark: MARK, ..to_node() });
    let words = gate.says();
    let golden = hex(concat!(
        "0000006f 81 59554d45 01 0000001e",
        "0101010101010101 0101010101010101 0101010101010101 0101010101010101 00",
        "01 0006 676174652d31 02 0004 67616d65 03 0004 00400000 04 0004 00100000",
        "06 0008 0000000000000007",
        "07 0018 0000000000000a0b 0000000000000c0d 0000000000000e0f",
    ));
    assert_eq!(words[4 + 11 + "gate-1".len()..], golden);
}

#[test]
fn both_sides_know_life_process_and_dial_of_the_other() {
    let now = start();
    let mut gate = dial(now, gate(&[]), LinkTarget { mark: MARK, ..to_node() });
    let mut node = accept(now, node(&[]));
    settle(now, &mut gate, &mut node);
    assert_eq!(node.link.peer().mark, MARK);
    assert_eq!(gate.link.peer().mark, LinkMark::default(), "what nobody says is 0");
}

#[test]
fn the_server_welcomes_and_tells_of_another_life() {
    let now = start();
    let (mut gate, mut node) = pair(now, gate(&[]), node(&[]));
    node.link.welcome(&mut node.out);
    node.link.tell_life(9, &mut node.out);
    assert_eq!(node.out.pending(), hex("00000001 85 00000009 86 0000000000000009"));
    settle(now, &mut gate, &mut node);
    assert_eq!(gate.events, ["Up", "Welcome", "Life(9)"]);
    assert_eq!(gate.link.peer().mark.life, 9);
}

#[test]
fn one_of_dues_hears_neither_a_welcome_nor_of_a_life() {
    let now = start();
    let mut node = accept(now, node(&[]));
    node.hear(
        now,
        &hex("00000011 00 01 0000000000000001 01 676174652d31 0000000a 00 10 0000000000000002"),
    );
    assert!(node.link.is_up() && !node.link.peer().ours);
    let _answer = node.says();
    node.link.welcome(&mut node.out);
    node.link.tell_life(9, &mut node.out);
    node.link.farewell(Farewell::Idle, &mut node.out);
    assert!(node.out.is_empty());
}

#[test]
fn every_farewell_is_read_as_it_was_written() {
    use Farewell::{Duplicate, IdTaken, Idle, Leaving, LifeOver, Other};
    for why in [Duplicate, Leaving, IdTaken, Idle, LifeOver, Other(77)] {
        let now = start();
        let (mut gate, mut node) = pair(now, gate(&[]), node(&[]));
        node.link.farewell(why, &mut node.out);
        settle(now, &mut gate, &mut node);
        assert_eq!(gate.events[1], format!("Farewell({why:?})"));
    }
}

#[test]
fn w09_before_it_may_speak_a_peer_cannot_make_anybody_keep_more_than_a_kilobyte() {
    let now = start();
    let mut words = dial(now, gate(&[SECRET]), to_node());
    let words = words.says();
    for len in [0, 4 + 11 + "gate-1".len(), words.len()] {
        let mut node = accept(now, node(&[SECRET]));
        node.hear(now, &words[..len]);
        let _answer = node.says();
        node.hear(now, &hex("00001000 00 0f"));
        assert_eq!(node.fault(), Some(LinkFault::TooLarge), "after {len} bytes");
        assert!(node.link.held() <= 2048, "{}", node.link.held());
    }
    let mut node = accept(now, node(&[SECRET]));
    node.hear(now, &[&hex("00000400 00 0f")[..], &[0; 500]].concat());
    assert_eq!(node.fault(), None, "it may be an introduction");
    assert!(node.link.held() <= 2048, "{}", node.link.held());
}

#[test]
fn room_is_counted_in_bytes_of_frames_whoever_queues_them() {
    let now = start();
    let (mut gate, _node) = pair(now, gate(&[]), node(&[]));
    let before = gate.link.room().unwrap();
    gate.link.spend(100);
    assert_eq!(gate.link.room(), Some(before - 100));
    let control = LinkTarget { lane: Lane::Control, ..to_node() };
    let mut gate = dial(now, self::gate(&[]), control);
    let mut node = accept(now, node(&[]));
    settle(now, &mut gate, &mut node);
    let unbounded = |link: &LinkConn| link.room().is_none();
    assert!(unbounded(&gate.link) && unbounded(&node.link));
}

proptest! {
    #[test]
    fn what_an_announcement_says_is_read_back(
        (features, window, frame_max) in any::<(u32, u32, u32)>(),
        nonce in any::<[u8; 32]>(),
        id in "[a-z0-9-]{1,40}",
        cluster in "[a-z]{0,40}",
        proof in proptest::option::of(any::<[u8; 32]>()),
        control in any::<bool>(),
    ) {
        let lane = if control { Lane::Control } else { Lane::Data };
        let (id, cluster, features) = (&id[..], &cluster[..], LinkFeatures::from_bits(features));
        let mark = LinkMark::default();
        let said = LinkAnnounce { features, nonce, lane, id, cluster, window, frame_max, mark, proof };
        let mut bytes = Vec::new();
        said.encode(&mut bytes);
        prop_assert_eq!(LinkAnnounce::parse(&bytes[5..]), Some(said));
        // Room for what is to come: a field of unknown type.
        bytes.extend([200, 0, 2, 1, 1]);
        prop_assert_eq!(LinkAnnounce::parse(&bytes[5..]), Some(said));
    }

    #[test]
    fn a_mark_is_read_back(life: u64, run: u64, dial: u64, last: u64) {
        let mark = LinkMark { life, run, dial, last };
        let said = LinkAnnounce {
            features: LinkFeatures::CREDITS,
            nonce: [3; NONCE_LEN],
            lane: Lane::Control,
            id: "a",
            cluster: "",
            window: 1,
            frame_max: 2,
            mark,
            proof: None,
        };
        let mut bytes = Vec::new();
        said.encode(&mut bytes);
        let read = LinkAnnounce::parse(&bytes[5..]).unwrap();
        let nothing = run == 0;
        let expected = if nothing { LinkMark { life, ..LinkMark::default() } } else { mark };
        prop_assert_eq!(read.mark, expected);
    }
}
