//! Two ends that are configured differently: both are told, in words that name the settings.

use super::*;
use crate::{client::Clients, gate::GateHandle};
use std::sync::{Arc, Mutex};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use yumen_core::status::Code;
use yumen_proto::{
    conn::Heartbeat,
    packet::{ByteOrder, Width},
};

/// Keeps the lines of the log, as long as it is this thread's.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn here() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let guard = tracing::subscriber::set_default(lines.clone());
        (lines, guard)
    }

    fn of(&self, part: &str) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|line| line.contains(part)).cloned().collect()
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        struct Message(String);
        impl Visit for Message {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                if field.name() == "message" {
                    self.0 = format!("{value:?}");
                }
            }
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        self.0.lock().unwrap().push(message.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

async fn gate(sim: &Sim, routes: &[i32]) -> (GateHandle, SimApp) {
    let cluster = Cluster::in_process();
    let mut app = SimApp::new(sim);
    if !routes.is_empty() {
        let router = routes.iter().fold(Router::new(), |all, route| all.route(*route, on(pong)));
        let node = Node::builder(&cluster, "n", |_| ()).routes(router).build().unwrap();
        app.start(node).await.unwrap();
    }
    let gate = Gate::builder(&cluster).listen(Tcp::on("gate:1")).build_unbound().unwrap();
    let handle = gate.handle();
    app.start(gate).await.unwrap();
    (handle, app)
}

fn wide() -> Layout {
    Layout { route: Width::Four, seq: Some(Width::Four), ..Layout::default() }
}

#[test]
fn wrong_widths_are_named_in_the_log_once_and_to_a_client_that_understands() {
    let (lines, _guard) = Lines::here();
    Sim::run(8, async |sim| {
        let (handle, _app) = gate(&sim, &[101, 102]).await;
        for _ in 0..10 {
            let clients = Clients::builder().layout(wide()).start(&sim.env()).unwrap();
            let client = clients.connect("gate:1").await.unwrap();
            let status = client.call_raw(101, b"{}").await.unwrap_err();
            assert_eq!(status.code(), Code::UNROUTABLE);
            let text = status.to_string();
            for part in [
                "configured with packet.byteOrder = big, packet.routeBytes = 2, packet.seqBytes = 2",
                "use packet.byteOrder = big, packet.routeBytes = 4, packet.seqBytes = 4",
            ] {
                assert!(text.contains(part), "{text}");
            }
        }
        let stats = handle.stats().await;
        assert_eq!((stats.wrong_layout, stats.dropped_unroutable), (10, 10));
        let said = lines.of("packet.routeBytes = 4");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("configured with packet.byteOrder = big, packet.routeBytes = 2"));
        // Who stays is puzzled over a few times only.
        let clients = Clients::builder().layout(wide()).start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        for _ in 0..20 {
            client.send_raw(101, b"{}").unwrap();
        }
        sim.env().clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(handle.stats().await.wrong_layout, 14);
    });
}

#[test]
fn a_client_of_any_widths_is_told_by_a_gate_of_any_others() {
    let widths = [Width::One, Width::Two, Width::Four];
    let layouts = widths.iter().flat_map(|route| {
        let layout = |seq| Layout { route: *route, seq: Some(seq), ..Layout::default() };
        widths.map(layout)
    });
    let layouts: Vec<_> = layouts.collect();
    for (gate, client) in layouts.iter().flat_map(|g| layouts.iter().map(move |c| (*g, *c))) {
        if gate.route == client.route {
            continue; // the route is right, so the message goes to its node
        }
        Sim::run(14, async |sim| {
            let cluster = Cluster::in_process();
            let mut app = SimApp::new(&sim);
            let router = Router::new().route(101, on(pong));
            let node = Node::builder(&cluster, "n", |_| ()).layout(gate).routes(router);
            app.start(node.build().unwrap()).await.unwrap();
            let listening = Gate::builder(&cluster).layout(gate).listen(Tcp::on("gate:1"));
            app.start(listening.build_unbound().unwrap()).await.unwrap();
            let clients = Clients::builder().layout(client).start(&sim.env()).unwrap();
            let connected = clients.connect("gate:1").await.unwrap();
            let status = connected.call_raw(101, b"{}").await.unwrap_err();
            let text = status.to_string();
            assert!(text.contains("give both the same"), "{gate:?} {client:?}: {text}");
        });
    }
}

#[test]
fn the_other_byte_order_a_short_packet_and_another_protocol_are_named() {
    let little = Layout { order: ByteOrder::Little, ..Layout::default() };
    let (mut order, mut short) = (Vec::new(), Vec::new());
    little.encode_data(RouteId(101), 1, b"{}", &mut order).unwrap();
    let narrow = Layout { route: Width::One, seq: None, ..Layout::default() };
    narrow.encode_data(RouteId(101), 0, b"", &mut short).unwrap();
    for (bytes, named, ends) in [
        (order, "packet.byteOrder = little, packet.routeBytes = 2", true),
        (short, "packet.routeBytes = 1, packet.seqBytes = 0", false),
        (b"GET /game HTTP/1.1\r\n".to_vec(), "speaks HTTP or WebSocket", true),
        (vec![0x16, 3, 1, 2, 0, 1, 0, 1], "speaks TLS", true),
        (
            b"PROXY TCP4 192.0.2.7 192.0.2.7 5000 3553\r\n".to_vec(),
            "nobody there is believed",
            true,
        ),
    ] {
        let (lines, _guard) = Lines::here();
        Sim::run(9, async |sim| {
            let (handle, _app) = gate(&sim, &[101]).await;
            let mut peer = Peer::new(sim.env().net.dial("gate:1").await.unwrap());
            peer.send(&bytes).await.unwrap();
            sim.env().clock.sleep(Duration::from_secs(1)).await;
            assert_eq!(lines.of(named).len(), 1, "{named}: {:?}", lines.of(""));
            let stats = handle.stats().await;
            assert_eq!((stats.wrong_layout, stats.closed_oversize), (1, u64::from(ends)));
        });
    }
}

#[cfg(feature = "ws")]
#[test]
fn what_a_websocket_listener_hears_instead_of_http_is_named_once() {
    for (bytes, named) in [
        (&b"PROXY TCP4 192.0.2.7 192.0.2.7 5000 3553\r\n"[..], "nobody there is believed"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", "nobody there is believed"),
        (&[0x16, 3, 1, 2, 0, 1, 0, 1], "give it certFile and keyFile"),
        (&[0, 0, 0, 1, 0x80], "let it connect to a tcp listener"),
        (b"GET /\0 HTTP/1.1\r\n\r\n", ""),
    ] {
        let (lines, _guard) = Lines::here();
        Sim::run(15, async |sim| {
            let (cluster, mut app) = (Cluster::in_process(), SimApp::new(&sim));
            let gate = Gate::builder(&cluster).listen(crate::gate::Ws::on("gate:1"));
            let gate = gate.build_unbound().unwrap();
            let handle = gate.handle();
            app.start(gate).await.unwrap();
            for _ in 0..2 {
                let mut peer = Peer::new(sim.env().net.dial("gate:1").await.unwrap());
                peer.send(bytes).await.unwrap();
                sim.env().clock.sleep(Duration::from_secs(1)).await;
            }
            let said = if named.is_empty() {
                lines.of("a client of a WebSocket")
            } else {
                lines.of(named)
            };
            assert_eq!(said.len(), usize::from(!named.is_empty()), "{named}: {:?}", lines.of(""));
            assert_eq!(handle.stats().await.closed_handshake_bad_request, 2);
        });
    }
}

#[test]
fn a_client_that_was_understood_once_is_not_suspected() {
    let (lines, _guard) = Lines::here();
    Sim::run(10, async |sim| {
        let (handle, _app) = gate(&sim, &[1, 101]).await;
        let clients = Clients::builder().start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        client.call_raw(101, b"{}").await.unwrap();
        // In four bytes this would be route 1, with the number 120.
        let status = client.call_raw(0, b"x").await.unwrap_err();
        assert_eq!(status.code(), Code::UNROUTABLE);
        assert!(!status.to_string().contains("packet."), "{status}");
        assert_eq!((handle.stats().await.wrong_layout, lines.of("packet.").len()), (0, 0));
    });
}

#[test]
fn a_wrong_guess_does_the_client_no_harm() {
    Sim::run(13, async |sim| {
        let (handle, _app) = gate(&sim, &[1, 101]).await;
        let clients = Clients::builder().start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        // In four bytes this would be route 1, with the number 120.
        let status = client.call_raw(0, b"x").await.unwrap_err();
        assert_eq!(status.code(), Code::UNROUTABLE);
        assert_eq!(handle.stats().await.wrong_layout, 1);
        for _ in 0..10 {
            assert_eq!(client.call_raw(101, b"{}").await.unwrap(), [7; 100][..]);
        }
        assert!(client.try_event().is_none(), "the other status is not shown as a push");
    });
}

#[test]
fn a_gate_without_nodes_says_so_in_the_log_once_and_in_every_status() {
    let (lines, _guard) = Lines::here();
    Sim::run(11, async |sim| {
        let (_handle, _app) = gate(&sim, &[]).await;
        let clients = Clients::builder().start(&sim.env()).unwrap();
        let client = clients.connect("gate:1").await.unwrap();
        for _ in 0..3 {
            let status = client.call_raw(101, b"{}").await.unwrap_err();
            assert!(status.to_string().contains("the gate knows no node"), "{status}");
        }
        assert_eq!(lines.of("this gate knows no node").len(), 1);
    });
}

#[test]
fn a_client_names_the_layout_of_a_gate_that_knows_no_statuses() {
    let (lines, _guard) = Lines::here();
    Sim::run(12, async |sim| {
        let env = sim.env();
        let mut listener = env.net.listen("due:1").await.unwrap();
        let heartbeat = Heartbeat { interval: Duration::ZERO, ..Heartbeat::default() };
        let clients = Clients::builder().heartbeat(heartbeat).start(&env).unwrap();
        let (client, accepted) = tokio::join!(clients.connect("due:1"), listener.accept());
        let (client, mut gate) = (client.unwrap(), Peer::new(accepted.unwrap().0));
        let mut answer = Vec::new();
        wide().encode_data(RouteId(101), 1, b"{}", &mut answer).unwrap();
        let call = client.call_raw_within(Duration::from_secs(2), 101, b"{}");
        let (answered, sent) = tokio::join!(call, gate.send(&answer));
        assert!(sent.is_ok() && answered.is_err());
        let said = lines.of("a gate seems to use packet.byteOrder = big, packet.routeBytes = 4");
        assert_eq!(said.len(), 1, "{:?}", lines.of(""));
        assert!(said[0].contains("this client is configured with packet.byteOrder = big"));
    });
}
