//! Two machines over a pretend link: latency, small windows, breaks, jumps of time.

use crate::{any_bytes, start};
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};
use yumen_proto::{
    ClientConn, ClientEvent, CloseReason, Data, Heartbeat, Machine, Mechanism, NoticeReason, Now,
    Out, RouteId, ServerConn, ServerEvent, Settings,
    testing::{Dice, End, Pipe, Taken, Weather, conn_ops},
};

struct Pair {
    now: Now,
    settings: Arc<Settings>,
    client: End<ClientConn>,
    server: End<ServerConn>,
    up: Pipe,
    down: Pipe,
    dice: Dice,
    /// Numbers of the requests sent, and of the answers that came back, in order.
    sent: i32,
    answered: Vec<i32>,
    notice: Option<NoticeReason>,
}

impl Pair {
    fn new(seed: u64, settings: Settings, weather: Weather) -> Self {
        eprintln!("seed {seed}");
        let (now, settings, mut out) = (start(), Arc::new(settings), Out::default());
        let client = ClientConn::new(settings.clone(), now, true, &mut out);
        Self {
            now,
            client: End::new(client, out),
            server: End::new(ServerConn::new(settings.clone(), now), Out::default()),
            settings,
            up: Pipe::new(weather, seed ^ 1),
            down: Pipe::new(weather, seed ^ 2),
            dice: Dice::new(seed),
            sent: 0,
            answered: Vec::new(),
            notice: None,
        }
    }

    fn ask(&mut self) {
        let body = vec![7; self.dice.below(3000)];
        let out = self.client.out.buffer();
        self.sent += 1;
        self.settings.layout.encode_data(RouteId(1), self.sent, &body, out).unwrap();
    }

    /// Both ends write, read and answer; one request in `hold`, if that is above 1, is held back.
    fn turn(&mut self, hold: usize) {
        let (now, layout) = (self.now, self.settings.layout);
        self.client.write(now, &mut self.up);
        let dice = &mut self.dice;
        let mut serve = |_: &mut ServerConn, event: ServerEvent<'_>, out: &mut Out| {
            if hold > 1 && dice.once_in(hold) {
                return Taken::No;
            }
            if let ServerEvent::Message(Data { route, seq, body, .. }) = event {
                layout.encode_data(route, seq, body, out.buffer()).unwrap();
            }
            Taken::Yes
        };
        self.server.resume(now, &mut serve);
        self.server.read(now, &mut self.up, serve);
        self.server.write(now, &mut self.down);
        let (answered, notice) = (&mut self.answered, &mut self.notice);
        self.client.read(now, &mut self.down, |_, event, _| {
            match event {
                ClientEvent::Message(data) => answered.push(data.seq),
                ClientEvent::Closing(closing) => *notice = Some(closing.reason),
                ClientEvent::Announced(_)
                | ClientEvent::Status { .. }
                | ClientEvent::Nonsense(_) => {}
            }
            Taken::Yes
        });
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.client.sweep(self.now);
        self.server.sweep(self.now);
    }

    /// Lets arrive what is on its way.
    fn settle(&mut self) {
        let outs = |pair: &Self| pair.client.out.is_empty() && pair.server.out.is_empty();
        while !(self.up.is_empty() && self.down.is_empty() && outs(self)) {
            self.turn(0);
            self.now.mono += Duration::from_millis(20);
        }
    }

    fn assert_answered_in_order(&self) {
        let in_order = self.answered.iter().copied().eq(1..=self.answered.len() as i32);
        assert!(in_order, "{:?}", self.answered);
    }
}

fn weather(dice: &mut Dice) -> Weather {
    Weather {
        latency_max: Duration::from_millis(dice.below(400) as u64),
        window: 2000 + dice.below(20_000),
        piece_max: 1 + dice.below(5000),
    }
}

fn patient() -> Settings {
    let heartbeat = Heartbeat { interval: Duration::from_secs(3), ..Heartbeat::default() };
    Settings { heartbeat, ..Settings::default() }
}

#[test]
fn every_request_is_answered_once_and_in_order_in_any_weather() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed, patient(), weather(&mut Dice::new(seed)));
        let hold = pair.dice.below(4);
        for _ in 0..60 {
            pair.ask();
            pair.turn(hold);
            pair.pass(Duration::from_millis(20));
        }
        let mut turns = 0;
        while pair.answered.len() < 60 {
            pair.turn(hold);
            pair.pass(Duration::from_millis(20));
            turns += 1;
            assert!(turns < 100_000, "{} answers", pair.answered.len());
        }
        pair.settle();
        pair.assert_answered_in_order();
        assert_eq!((pair.client.closed, pair.server.closed), (None, None));
        assert_eq!((pair.client.machine.held(), pair.server.machine.held()), (0, 0));
        assert_eq!((pair.client.machine.skipped(), pair.server.machine.skipped()), (0, 0));
    }
}

#[test]
fn heartbeats_alone_keep_a_silent_pair_alive_with_either_mechanism() {
    for mechanism in [Mechanism::Resp, Mechanism::Tick] {
        let mut settings = patient();
        settings.heartbeat.mechanism = mechanism;
        let mut pair = Pair::new(7, settings, weather(&mut Dice::new(7)));
        for _ in 0..600 {
            pair.turn(0);
            pair.pass(Duration::from_secs(1));
        }
        assert_eq!((pair.client.closed, pair.server.closed), (None, None), "{mechanism:?}");
    }
}

#[test]
fn a_break_in_the_middle_of_a_packet_ends_both_and_tears_no_message() {
    for seed in 0..200 {
        let mut pair = Pair::new(seed, patient(), weather(&mut Dice::new(seed)));
        let end = pair.dice.below(100);
        for turn in 0..40_000 {
            if turn < end {
                pair.ask();
            }
            if turn == end {
                pair.up.cut();
                pair.down.cut();
            }
            pair.turn(0);
            pair.pass(Duration::from_millis(20));
            if pair.client.closed.is_some() && pair.server.closed.is_some() {
                break;
            }
        }
        // The client may have given up on a gate whose answers could not get through.
        let ends = [CloseReason::Gone, CloseReason::Idle, CloseReason::Stalled];
        let (client, server) = (pair.client.closed.unwrap(), pair.server.closed.unwrap());
        assert!(ends.contains(&client) && ends.contains(&server), "{client:?}, {server:?}");
        pair.assert_answered_in_order();
    }
}

#[test]
fn a_jump_of_time_ends_a_silent_pair_once_and_nothing_else() {
    for seed in 0..50 {
        let mut pair = Pair::new(seed, patient(), weather(&mut Dice::new(seed)));
        for _ in 0..20 {
            pair.ask();
            pair.turn(0);
            pair.pass(Duration::from_millis(10));
        }
        pair.pass(Duration::from_secs(3600));
        let ends = [Some(CloseReason::Idle), Some(CloseReason::Stalled)];
        assert!(ends.contains(&pair.client.closed), "{:?}", pair.client.closed);
        assert!(ends.contains(&pair.server.closed), "{:?}", pair.server.closed);
        pair.assert_answered_in_order();
    }
}

#[test]
fn a_graceful_close_brings_everything_and_its_reason_to_the_client() {
    for seed in 0..60 {
        let mut pair = Pair::new(seed, patient(), weather(&mut Dice::new(seed)));
        for _ in 0..30 {
            pair.ask();
            pair.turn(0);
            pair.pass(Duration::from_millis(20));
        }
        while pair.answered.len() < 30 {
            pair.turn(0);
            pair.pass(Duration::from_millis(1));
        }
        let end = &mut pair.server;
        for push in 31..=40 {
            pair.settings.layout.encode_data(RouteId(2), push, b"push", end.out.buffer()).unwrap();
        }
        end.machine.close(pair.now, CloseReason::Kicked, "elsewhere".into(), &mut end.out);
        pair.ask();
        for _ in 0..400 {
            pair.turn(0);
            pair.pass(Duration::from_millis(10));
        }
        assert_eq!(pair.answered.len(), 40, "the request after the close was not served");
        pair.assert_answered_in_order();
        assert_eq!(pair.notice, Some(NoticeReason::Kicked));
        assert_eq!(pair.server.closed, Some(CloseReason::Kicked));
    }
}

#[test]
fn a_client_that_does_not_read_is_closed_by_backlog_or_stall_and_told_nothing_else() {
    for (backlog_max, reason) in [(5000, CloseReason::Backlog), (1 << 20, CloseReason::Stalled)] {
        let settings = Settings { backlog_max, ..Settings::default() };
        let narrow = Weather { latency_max: Duration::ZERO, window: 1000, piece_max: 100_000 };
        let mut pair = Pair::new(3, settings, narrow);
        let mut seconds = 0;
        while pair.server.closed.is_none() {
            let out = pair.server.out.buffer();
            pair.settings.layout.encode_data(RouteId(2), 1, &[0; 900], out).unwrap();
            pair.server.write(pair.now, &mut pair.down);
            pair.pass(Duration::from_secs(1));
            seconds += 1;
        }
        assert_eq!(pair.server.closed, Some(reason));
        assert!(seconds <= 13, "{seconds} s");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_sequence_of_operations_keeps_the_promises(script in any_bytes(400)) {
        conn_ops(&script, start().mono);
    }
}
