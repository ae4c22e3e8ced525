//! The players of the chaos run: thousands of clients in one process, who write down what they see.
//!
//! Each numbers its requests and never sends one twice. It plays at its home gate while it can; where a
//! gate is gone, refuses or stays silent it goes on at the next, as a game's own client would. It never
//! decides what is right: every event is a line of the log.
mod bot;

use super::sheet::Sheet;
use crate::process::{announce, answer_until_input_ends, need_descriptors};
use bot::Bot;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use yumen::client::Clients;
use yumen::net::env::Env;

/// Longest wait of a client for an answer.
const CALL_MAX: Duration = Duration::from_secs(2);

/// Who plays and where it is written down.
#[derive(Debug, Clone, Args)]
pub struct ClientsArgs {
    /// How many clients.
    #[arg(long, default_value_t = 2_000)]
    clients: u32,
    /// Pause of a client between two rounds of three requests, in milliseconds.
    #[arg(long, default_value_t = 1_500)]
    pause_ms: u64,
    /// How long a client stays at a gate on average before it goes to the next, in milliseconds; 0: for good.
    #[arg(long, default_value_t = 0)]
    roam_ms: u64,
    /// The file for what they see.
    #[arg(long)]
    log: PathBuf,
    /// The process to die with.
    #[arg(long, value_name = "PID")]
    parent: u32,
}

/// What the clients are told; the newest word counts.
#[derive(Debug, Clone, Default)]
struct Orders {
    /// Where each gate listens, by its id.
    gates: BTreeMap<String, SocketAddr>,
    /// Grows when everybody should go back to the gate that is its home.
    homeward: u64,
    stop: bool,
}

/// How many clients are how far.
#[derive(Debug, Default)]
struct Tally {
    open: AtomicU64,
    entered: AtomicU64,
}

/// The answer to a look at the players.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Look {
    /// Connections that are open.
    pub(super) open: u64,
    /// Clients that are logged in and have a node.
    pub(super) entered: u64,
}

/// Plays until told to stop, or until its input ends.
pub(crate) fn run(args: &ClientsArgs) -> io::Result<ExitCode> {
    crate::backend::die_with_parent(args.parent)?;
    need_descriptors(usize::try_from(args.clients).unwrap_or(usize::MAX))?;
    let sheet = Sheet::create(&args.log)?;
    let (tell, orders) = watch::channel(Orders::default());
    let tally = Arc::new(Tally::default());
    announce((Ipv4Addr::LOCALHOST, 0).into())?;
    let (told, count) = (tell.clone(), Arc::clone(&tally));
    std::thread::spawn(move || {
        // An input that cannot be read has ended as well.
        answer_until_input_ends(|line| obey(&told, &count, line)).unwrap_or_default();
        told.send_modify(|orders| orders.stop = true);
    });
    let sheet = Rc::new(sheet);
    let played = Clients::builder()
        .call_max(CALL_MAX)
        .dial_max(CALL_MAX)
        .run(async |clients| play(args, &clients, &sheet, &orders, &tally).await);
    played.map_err(io::Error::other)??;
    sheet.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Does what a line says, and answers with a line.
fn obey(orders: &watch::Sender<Orders>, tally: &Tally, line: &str) -> io::Result<String> {
    let mut words = line.split(' ');
    match (words.next(), words.next(), words.next()) {
        (Some("gate"), Some(name), Some(address)) => {
            let address = address.parse().map_err(|_| ErrorKind::InvalidInput)?;
            orders.send_modify(|orders| {
                orders.gates.insert(name.to_owned(), address);
            });
        }
        (Some("home"), None, None) => {
            orders.send_modify(|orders| orders.homeward = orders.homeward.saturating_add(1));
        }
        (Some("stop"), None, None) => orders.send_modify(|orders| orders.stop = true),
        (Some("look"), None, None) => {}
        _ => return Err(ErrorKind::InvalidInput.into()),
    }
    let open = tally.open.load(Ordering::Relaxed);
    let entered = tally.entered.load(Ordering::Relaxed);
    Ok(serde_json::to_string(&Look { open, entered })?)
}

async fn play(
    args: &ClientsArgs,
    clients: &Clients,
    sheet: &Rc<Sheet>,
    orders: &watch::Receiver<Orders>,
    tally: &Arc<Tally>,
) -> io::Result<()> {
    let dice = Env::real().dice;
    let mut bots = JoinSet::new();
    for index in 0..args.clients {
        let bot = Bot {
            index,
            pause: Duration::from_millis(args.pause_ms),
            roam_ms: args.roam_ms,
            clients: clients.clone(),
            sheet: Rc::clone(sheet),
            orders: orders.clone(),
            tally: Arc::clone(tally),
            dice: dice.clone(),
            number: Rc::default(),
            homeward: 0,
            going: None,
        };
        bots.spawn_local(bot.live());
    }
    while let Some(ended) = bots.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}
