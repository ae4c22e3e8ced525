//! Plays a script of bytes on both ends of a client connection and checks what must always hold.
//!
//! Every sequence of bytes is a script, so a fuzzer can write them. As long as no noise was put on
//! the wire, messages arrive whole, once and in order; whatever happens, a machine holds no more than
//! what arrived and one packet, and nothing comes out of one that is closing.

use super::{End, Pipe, Taken, Weather};
use crate::{
    conn::{
        ClientConn, ClientEvent, CloseReason, Heartbeat, Machine, Mechanism, Now, Out, ServerConn,
        ServerEvent, Settings,
    },
    extension::{Features, Outcome, StatusReply},
    id::RouteId,
    packet::{ByteOrder, Layout, Width},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Plays `script` from `start` on; the time moves only as the script says.
///
/// Panics if something does not hold that always must.
pub fn conn_ops(script: &[u8], start: Instant) {
    let mut script = script.iter().copied();
    let mut play = Play::new([0; 4].map(|_| script.next().unwrap_or_default()), start);
    while let Some(op) = script.next() {
        let argument = script.next().unwrap_or_default();
        play.step(op, argument);
        play.check();
    }
}

/// Numbered messages in one direction.
#[derive(Default)]
struct Count {
    sent: u32,
    arrived: u32,
    /// Something else was put on the wire, so that anything may arrive.
    noisy: bool,
}

impl Count {
    fn send(&mut self, layout: &Layout, len: u8, out: &mut Out) {
        let mut body = self.sent.to_be_bytes().to_vec();
        body.resize(4 + usize::from(len), len);
        // Bodies too large for the layout are refused, and were then not sent.
        if layout.encode_data(RouteId(1), 1, &body, out.buffer()).is_ok() {
            self.sent += 1;
        }
    }

    fn arrive(&mut self, body: &[u8]) {
        if !self.noisy {
            assert_eq!(body.first_chunk(), Some(&self.arrived.to_be_bytes()), "out of order");
            self.arrived += 1;
            assert!(self.arrived <= self.sent, "more arrived than was sent");
        }
    }
}

struct Play {
    settings: Arc<Settings>,
    now: Now,
    server: End<ServerConn>,
    client: End<ClientConn>,
    up: Pipe,
    down: Pipe,
    ups: Count,
    downs: Count,
}

impl Play {
    fn new([layout, heartbeat, limits, weather]: [u8; 4], start: Instant) -> Self {
        let settings = Arc::new(settings(layout, heartbeat, limits));
        let now = Now { mono: start, unix_ns: 1_700_000_000_000_000_000 };
        let mut out = Out::default();
        let client = ClientConn::new(settings.clone(), now, weather & 1 == 0, &mut out);
        let weather = Weather {
            latency_max: Duration::from_millis(u64::from(weather)),
            window: 16 << (weather & 7),
            piece_max: 1 << (weather >> 5),
        };
        Self {
            server: End::new(ServerConn::new(settings.clone(), now), Out::default()),
            client: End::new(client, out),
            up: Pipe::new(weather, 1),
            down: Pipe::new(weather, 2),
            ups: Count::default(),
            downs: Count::default(),
            settings,
            now,
        }
    }

    fn step(&mut self, op: u8, argument: u8) {
        let (now, layout) = (self.now, self.settings.layout);
        match op % 16 {
            0 => self.pass(Duration::from_millis(u64::from(argument))),
            1 => self.pass(Duration::from_secs(u64::from(argument))),
            2 if self.client.machine.closing().is_none() => {
                self.ups.send(&layout, argument, &mut self.client.out);
            }
            3 if self.server.machine.closing().is_none() => {
                self.downs.send(&layout, argument, &mut self.server.out);
            }
            4 => {
                self.ups.noisy = true;
                self.client.out.buffer().push(argument);
            }
            5 => {
                self.downs.noisy = true;
                self.server.out.buffer().push(argument);
            }
            6 => self.client.write(now, &mut self.up),
            7 => self.server.write(now, &mut self.down),
            8 => self.server_reads(Taken::Yes),
            9 => self.server_reads(Taken::No),
            10 => self.client_reads(),
            11 => {
                self.server.sweep(now);
                self.client.sweep(now);
            }
            12 => self.login(argument),
            13 => self.close(argument),
            14 => layout.encode_heartbeat(now.unix_ns, self.client.out.buffer()),
            15 if argument == 0 => self.up.cut(),
            15 => self.refuse(argument),
            _ => {}
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
    }

    fn server_reads(&mut self, taken: Taken) {
        let (ups, now) = (&mut self.ups, self.now);
        let mut on_event = |_: &mut ServerConn, event: ServerEvent<'_>, _: &mut Out| {
            if taken == Taken::No {
                return taken;
            }
            if let ServerEvent::Message(data) = event {
                ups.arrive(data.body);
            }
            Taken::Yes
        };
        self.server.resume(now, &mut on_event);
        self.server.read(now, &mut self.up, on_event);
    }

    fn client_reads(&mut self) {
        let downs = &mut self.downs;
        self.client.read(self.now, &mut self.down, |machine, event, _| {
            match event {
                ClientEvent::Message(data) => downs.arrive(data.body),
                ClientEvent::Status { .. } => assert!(machine.features().has(Features::STATUS)),
                ClientEvent::Closing(_) => assert!(machine.features().has(Features::CLOSE)),
                ClientEvent::Announced(_) | ClientEvent::Nonsense(_) => {}
            }
            Taken::Yes
        });
    }

    fn login(&mut self, argument: u8) {
        if argument & 1 == 0 {
            self.server.machine.bound(self.now);
        } else {
            self.server.machine.unbound(self.now);
        }
    }

    fn close(&mut self, argument: u8) {
        let text = "so be it";
        if argument & 1 == 0 {
            self.server.machine.close(
                self.now,
                CloseReason::Kicked,
                text.into(),
                &mut self.server.out,
            );
        } else {
            self.client.machine.close(
                self.now,
                CloseReason::Done,
                text.into(),
                &mut self.client.out,
            );
        }
    }

    fn refuse(&mut self, argument: u8) {
        let text = "no".repeat(argument.into());
        let (code, outcome) = (u16::from(argument), Outcome::from_number(argument));
        let reply = StatusReply { code, outcome, retry_after_ms: 1, text: &text };
        let end = &mut self.server;
        let before = end.out.pending().len();
        let written = end.machine.status(RouteId(1), argument.into(), &reply, &mut end.out);
        assert_eq!(written, end.out.pending().len() > before, "a status says whether it was sent");
    }

    fn check(&self) {
        let max = self.settings.layout.packet_max();
        for (held, arrived, closing) in [
            (self.server.machine.held(), self.server.arrived, self.server.machine.closing()),
            (self.client.machine.held(), self.client.arrived, self.client.machine.closing()),
        ] {
            assert!(held <= arrived.saturating_add(max), "{held} held, {arrived} arrived");
            assert!(closing.is_none() || held == 0, "{held} held by a closing machine");
        }
    }
}

fn settings(layout: u8, heartbeat: u8, limits: u8) -> Settings {
    let width = |bits: u8| match bits & 3 {
        0 => Width::One,
        1 => Width::Two,
        _ => Width::Four,
    };
    let order = if layout & 1 == 0 { ByteOrder::Big } else { ByteOrder::Little };
    let tick = heartbeat & 1 == 1;
    Settings {
        layout: Layout {
            order,
            route: width(layout >> 1),
            seq: (layout & 0x40 == 0).then(|| width(layout >> 3)),
            body_max: 200,
            receive_max: 64 << (layout >> 6),
            heartbeat_time: layout & 0x20 != 0,
        },
        heartbeat: Heartbeat {
            interval: Duration::from_secs(u64::from(heartbeat >> 3)),
            mechanism: if tick { Mechanism::Tick } else { Mechanism::Resp },
            misses: u32::from(heartbeat >> 1 & 3),
        },
        login_max: Duration::from_secs(u64::from(limits & 15)),
        backlog_max: 64 << (limits >> 5),
        write_stall_max: Duration::from_secs(u64::from(limits >> 4)),
        drain_max: Duration::from_secs(2),
        features: Features::from_bits(u32::from(!limits >> 3)),
    }
}
