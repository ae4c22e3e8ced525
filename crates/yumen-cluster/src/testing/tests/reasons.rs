//! Every connection that ends is counted under exactly one reason, whatever its client did.
#![expect(clippy::wildcard_enum_match_arm, reason = "most deeds need nothing special")]

use super::*;
use crate::{gate::Ws, node::Session};
use std::collections::BTreeMap;
use yumen_core::status::Status;

const REQUEST: &str = "GET /game HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: here\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Closes the connection that asks.
const KICK: i32 = 3;

/// What a client does, and the reason its connection ends for; none if it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deed {
    Talk,
    Leave,
    HalfThenLeave,
    Silence,
    HalfThenSilence,
    Oversize,
    Closed,
    NeverReads,
    WebTalk,
    WebSilence,
    WebHalfRequest,
    WebGarbage,
    WebPath,
    WebOrigin,
    WebHuge,
    WebThenGarbage,
    WebThenOversize,
    WebThenLeave,
}

use Deed::*;

const DEEDS: [(Deed, Option<&str>); 18] = [
    (Talk, None),
    (Leave, Some("gone")),
    (HalfThenLeave, Some("gone")),
    (Silence, Some("idle")),
    (HalfThenSilence, Some("idle")),
    (Oversize, Some("oversize")),
    (Closed, Some("by_game")),
    (NeverReads, Some("backlog")),
    (WebTalk, None),
    (WebSilence, Some("handshake_timeout")),
    (WebHalfRequest, Some("handshake_timeout")),
    (WebGarbage, Some("handshake_bad_request")),
    (WebPath, Some("handshake_path")),
    (WebOrigin, Some("handshake_origin")),
    (WebHuge, Some("handshake_too_large")),
    (WebThenGarbage, Some("framing")),
    (WebThenOversize, Some("oversize")),
    (WebThenLeave, Some("gone")),
];

/// A masked binary message, as a client sends it; the mask is zero.
fn masked(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82, 0xfe];
    frame.extend(u16::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(message);
    frame
}

async fn kick(session: Session) -> Result<(), Status> {
    session.close()
}

async fn do_it(deed: Deed, env: &Env) -> Option<Peer> {
    let web = deed >= WebTalk;
    let socket = env.net.dial(if web { "web" } else { "gate" }).await.unwrap();
    let mut peer = Peer::new(socket);
    let request = match deed {
        WebSilence => String::new(),
        WebHalfRequest => REQUEST[..50].to_owned(),
        WebGarbage => REQUEST.replace("websocket", "h2c"),
        WebPath => REQUEST.replace("/game", "/debug/pprof"),
        WebOrigin => REQUEST.replace("here", "elsewhere"),
        WebHuge => format!("GET /game HTTP/1.1\r\nX: {}", "y".repeat(9000)),
        _ if web => REQUEST.to_owned(),
        _ => String::new(),
    };
    // It may be refused before it is written as a whole.
    let _refused = peer.send(request.as_bytes()).await;
    let call = requests(1, 1);
    let bytes = match deed {
        Talk => call,
        HalfThenLeave | HalfThenSilence => call[..call.len() / 2].to_vec(),
        Oversize => vec![0x7f, 0xff, 0xff, 0xff, 0],
        Closed => requests(KICK, 1),
        WebTalk => masked(&call),
        WebThenGarbage => vec![0xff; 64],
        WebThenOversize => vec![0x82, 0xff, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        _ => Vec::new(),
    };
    let _refused = peer.send(&bytes).await;
    if deed == NeverReads {
        // Until the gate gives up: it answers, and nobody takes the answers.
        while peer.send(&requests(1, 100)).await.is_ok() {}
    }
    if deed == WebThenLeave {
        assert!(peer.more().await, "whoever leaves before the answer breaks the stream");
    }
    (!matches!(deed, Leave | HalfThenLeave | WebThenLeave)).then_some(peer)
}

/// Has the clients do what they do, keeps those that talk talking, and gives what was counted.
async fn counted(sim: &Sim, deeds: &[Deed]) -> BTreeMap<&'static str, u64> {
    let cluster = Cluster::in_process();
    let router = Router::new().route(1, on(pong)).route(KICK, on(kick));
    let node = Node::builder(&cluster, "n", |_| ()).routes(router).build().unwrap();
    let gate = Gate::builder(&cluster)
        .listen(Tcp::on("gate"))
        .listen(Ws::on("web").path("/game").origins(["here"]))
        .backlog_max(32 * 1024)
        .build_unbound()
        .unwrap();
    let (handle, mut app) = (gate.handle(), SimApp::new(sim));
    app.start(node).await.unwrap();
    app.start(gate).await.unwrap();
    let env = sim.env();
    let doing = deeds.iter().map(|deed| {
        let (env, deed) = (env.clone(), *deed);
        (deed, tokio::task::spawn_local(async move { do_it(deed, &env).await }))
    });
    let (doing, mut peers): (Vec<_>, _) = (doing.collect(), Vec::new());
    for (deed, task) in doing {
        peers.extend(task.await.unwrap().map(|peer| (deed, peer)));
    }
    for _ in 0..30 {
        env.clock.sleep(Duration::from_secs(1)).await;
        for (deed, peer) in &mut peers {
            let beat = [0, 0, 0, 1, 0x80];
            match deed {
                Talk => peer.send(&beat).await.unwrap(),
                WebTalk => peer.send(&masked(&beat)).await.unwrap(),
                _ => {}
            }
        }
    }
    let stats = handle.stats().await;
    let reasons = stats.closed_by_reason();
    let sum: u64 = reasons.iter().map(|(_, count)| count).sum();
    assert_eq!(sum, stats.closed, "{reasons:?}");
    assert_eq!(stats.accepted, stats.closed + stats.connections);
    assert_eq!(stats.accepted, deeds.len() as u64);
    reasons.into_iter().filter(|(_, count)| *count > 0).collect()
}

#[test]
fn the_reasons_of_any_mix_of_clients_add_up_to_the_connections_that_ended() {
    for seed in 0..20 {
        Sim::run(seed, async |sim| {
            let roll = |most: u64| usize::try_from(sim.dice().below(most)).unwrap();
            let mix: Vec<_> = (0..10 + roll(60)).map(|_| DEEDS[roll(18)]).collect();
            let mut expected = BTreeMap::new();
            for reason in mix.iter().filter_map(|(_, reason)| *reason) {
                *expected.entry(reason).or_default() += 1;
            }
            let deeds: Vec<_> = mix.iter().map(|(deed, _)| *deed).collect();
            assert_eq!(counted(&sim, &deeds).await, expected, "{deeds:?}");
        });
    }
}
