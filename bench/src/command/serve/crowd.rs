//! Gates and a node for crowds, each a process of its own: they answer questions and take orders.
//!
//! All follow the protocol of [`crate::process`]. The node is started with an empty list, each gate with
//! one that has the node, and then the node is told to read a list that has all of them. Whoever sends
//! [`ENTER`] is logged in, is in the one room there is, and can be thrown out by number.
use super::{BODY_MAX, LayoutArgs, ServeArgs, Transport, gate, json};
use crate::clock::shared_ns;
use crate::generator::BodyCodec;
use crate::process::{announce, answer_until_input_ends};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;
use yumen::app::App;
use yumen::cluster::Cluster;
use yumen::gate::GateHandle;
use yumen::memory::MemoryLocator;
use yumen::metrics::{Labels, render_parts};
use yumen::node::{Audience, NodeHandle, SessionRemote};
use yumen::prelude::{Msg, Node, Router, Session, State, Status, UserId, on};
use yumen::proto::RouteId;
use yumen::proto::link::Kind;
use yumen::registry::{Registry, StaticRegistry};

/// Logs in under the next free number, enters the room, and answers with that number.
pub(in crate::command) const ENTER: RouteId = RouteId(2);
/// What everybody, or everybody in the room, is told.
pub(in crate::command) const TOLD: RouteId = RouteId(3);
/// The channel of everybody who entered.
const ROOM: &str = "room";
/// Where all listen for each other.
const LINKS: &str = "127.0.0.1:0";
/// Frames and bytes on a node's links, as its metrics call them.
const FRAMES: &str = "yumen_link_frames_sent_total{";
const BYTES: &str = "yumen_link_socket_bytes_total{";

/// What a gate or the node of a crowd is started with.
#[derive(Debug, Clone, Args)]
pub struct MemberArgs {
    /// Its id.
    #[arg(long)]
    id: String,
    /// The file that lists the others.
    #[arg(long)]
    list: PathBuf,
}

/// A line of a member's input.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::command) enum Order {
    /// Answered with the member's own record.
    Record,
    /// To the node: read the list again. Answered with how many gates there are.
    Reread,
    /// To the node: send so many bytes to every connection. Answered with an [`Ordered`].
    Broadcast(usize),
    /// To the node: send so many bytes to everybody in the room. Answered with an [`Ordered`].
    Publish(usize),
    /// To the node: close the connection of whoever has this number. Answered with an [`Ordered`].
    Kick(usize),
    /// To the node: answered with [`Crossed`].
    Links,
    /// To a gate: answered with [`Doors`].
    Doors,
}

/// An order that was carried out, and when that began, by [`shared_ns`].
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::command) struct Ordered {
    pub(in crate::command) at_ns: u64,
}

/// What has crossed the links of a node to other processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::command) struct Crossed {
    pub(in crate::command) frames: u64,
    pub(in crate::command) bytes: u64,
}

/// What came to the doors of a gate.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(in crate::command) struct Doors {
    pub(in crate::command) connections: u64,
    pub(in crate::command) accepted: u64,
    /// Beyond a limit, or for want of descriptors.
    pub(in crate::command) refused: u64,
}

/// Everybody who entered, by number.
type Guests = Arc<Mutex<Vec<SessionRemote>>>;

struct Hall {
    guests: Guests,
}

async fn enter(session: Session, State(hall): State<Hall>) -> Result<Msg<usize>, Status> {
    let number = {
        let mut guests = hall.guests.lock().unwrap_or_else(PoisonError::into_inner);
        guests.push(session.remote());
        guests.len().saturating_sub(1)
    };
    let user = i64::try_from(number).ok().and_then(|number| UserId::new(number.saturating_add(1)));
    session.bind(user.ok_or_else(|| Status::internal("too many guests"))?).await?;
    session.subscribe(ROOM).await?;
    Ok(Msg(number))
}

/// Whoever carries out the orders of the node's process, on a thread of its own.
struct Desk {
    node: NodeHandle,
    guests: Guests,
    runtime: tokio::runtime::Runtime,
}

impl Desk {
    fn carry_out(&self, order: Order) -> io::Result<String> {
        // The clock is read before the order is given.
        let at_ns = shared_ns();
        let done = match order {
            Order::Broadcast(len) => {
                let body = vec![0_u8; len];
                let sent = self.node.broadcast(Audience::Everybody, TOLD, body.as_slice());
                self.runtime.block_on(sent)
            }
            Order::Publish(len) => {
                let body = vec![0_u8; len];
                self.runtime.block_on(self.node.publish(ROOM, TOLD, body.as_slice()))
            }
            Order::Kick(number) => {
                let guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
                let guest = guests.get(number).cloned().ok_or(ErrorKind::NotFound)?;
                drop(guests);
                self.runtime.block_on(guest.kick())
            }
            Order::Links => {
                let (nodes, labels) = ([self.node.clone()], Labels::default());
                let page = self.runtime.block_on(render_parts(&[], &nodes, &labels));
                return Ok(serde_json::to_string(&Crossed::read(&page))?);
            }
            Order::Record | Order::Reread | Order::Doors => return Err(unfit()),
        };
        done.map_err(io::Error::other)?;
        Ok(serde_json::to_string(&Ordered { at_ns })?)
    }
}

impl Crossed {
    /// From a page of metrics.
    fn read(page: &str) -> Self {
        let sum = |name: &str, with: &str| {
            let lines = page.lines().filter(|line| line.starts_with(name) && line.contains(with));
            let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
            values.fold(0, u64::saturating_add)
        };
        Self { frames: sum(FRAMES, ""), bytes: sum(BYTES, "direction=\"out\"") }
    }

    /// What has crossed since `earlier`.
    pub(in crate::command) fn since(self, earlier: Self) -> Self {
        Self {
            frames: self.frames.saturating_sub(earlier.frames),
            bytes: self.bytes.saturating_sub(earlier.bytes),
        }
    }
}

/// The process of the node, until its input ends.
pub(in crate::command) fn run_node(args: &MemberArgs) -> io::Result<ExitCode> {
    let (list, cluster) = cluster(&args.list)?;
    let guests = Guests::default();
    let hall = Arc::clone(&guests);
    let layout = LayoutArgs::wide();
    let routes = Router::new().route(layout.route(), on(json)).route(ENTER, on(enter));
    let node = Node::builder(&cluster, "echo", move |_| Hall { guests: Arc::clone(&hall) })
        .id(args.id.clone())
        .layout(layout.layout(BODY_MAX))
        .routes(routes)
        .link_addr(LINKS)
        .build()
        .map_err(io::Error::other)?;
    let handle = node.handles().first().cloned().ok_or(ErrorKind::NotFound)?;
    let desk = Desk { node: handle, guests, runtime: runtime()? };
    let (at, id) = ((Ipv4Addr::LOCALHOST, 0).into(), args.id.clone());
    serve(App::default().with(node), at, move |order| match order {
        Order::Record => record(&list, Kind::Node, &id),
        Order::Reread => {
            list.reread().map_err(io::Error::other)?;
            Ok(gates(&list)?.to_string())
        }
        Order::Broadcast(_) | Order::Publish(_) | Order::Kick(_) | Order::Links | Order::Doors => {
            desk.carry_out(order)
        }
    })
}

/// The process of a gate, until its input ends.
pub(in crate::command) fn run_gate(args: &MemberArgs) -> io::Result<ExitCode> {
    let (list, cluster) = cluster(&args.list)?;
    let layout = LayoutArgs::wide();
    let serve_args = ServeArgs {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        transport: Transport::Tcp,
        codec: BodyCodec::Json,
        layout: layout.clone(),
    };
    let gate = gate(&cluster, &serve_args, layout.layout(BODY_MAX))
        .id(args.id.clone())
        .link_addr(LINKS)
        .build()
        .map_err(io::Error::other)?;
    let address = gate.addresses().first().copied().ok_or(ErrorKind::AddrNotAvailable)?;
    let (handle, id, waits) = (gate.handle(), args.id.clone(), runtime()?);
    serve(App::default().with(gate), address, move |order| match order {
        Order::Record => record(&list, Kind::Gate, &id),
        Order::Doors => Ok(serde_json::to_string(&waits.block_on(doors(&handle)))?),
        Order::Reread | Order::Broadcast(_) | Order::Publish(_) | Order::Kick(_) | Order::Links => {
            Err(unfit())
        }
    })
}

async fn doors(gate: &GateHandle) -> Doors {
    let stats = gate.stats().await;
    Doors {
        connections: stats.connections,
        accepted: stats.accepted,
        refused: stats.refused.saturating_add(stats.accept_errors),
    }
}

fn cluster(list: &Path) -> io::Result<(Arc<StaticRegistry>, Cluster)> {
    let list = Arc::new(StaticRegistry::from_file(list).map_err(io::Error::other)?);
    let cluster = Cluster::new(Arc::clone(&list), MemoryLocator::default());
    Ok((list, cluster))
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Runs `app` and answers orders until the input has ended.
fn serve(
    app: App,
    address: SocketAddr,
    mut answer: impl FnMut(Order) -> io::Result<String> + Send + 'static,
) -> io::Result<ExitCode> {
    let (stop, stopped) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let answered = answer_until_input_ends(|line| answer(serde_json::from_str(line)?));
        if let Err(error) = answered {
            crate::command::note(&format!("crowd: {error}"));
        }
        drop(stop);
    });
    announce(address)?;
    let stopped = async { stopped.await.unwrap_or_default() };
    runtime()?.block_on(app.run_until(stopped)).map_err(io::Error::other)?;
    Ok(ExitCode::SUCCESS)
}

/// How many gates are known now.
fn gates(list: &StaticRegistry) -> io::Result<usize> {
    let watched = async { list.watch(Kind::Gate).await.map(|mut gates| gates.current().len()) };
    runtime()?.block_on(watched).map_err(io::Error::other)
}

/// The record of the member `id`, once it has one.
fn record(list: &StaticRegistry, kind: Kind, id: &str) -> io::Result<String> {
    let found = async {
        let mut all = list.watch(kind).await.map_err(io::Error::other)?;
        loop {
            if let Some(own) = all.current().iter().find(|one| one.id.as_str() == id) {
                return Ok(serde_json::to_string(own)?);
            }
            if !all.changed().await {
                return Err(io::Error::from(ErrorKind::BrokenPipe));
            }
        }
    };
    runtime()?.block_on(found)
}

fn unfit() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "no order for this member")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crossed_is_read_from_the_metrics_of_all_links_and_of_nothing_else() {
        let page = "# TYPE yumen_link_frames_sent_total counter\n\
            yumen_link_frames_sent_total{service=\"echo\",instance=\"a\"} 7\n\
            yumen_link_frames_sent_total{service=\"echo\",instance=\"b\"} 5\n\
            yumen_link_socket_bytes_total{instance=\"a\",direction=\"in\"} 900\n\
            yumen_link_socket_bytes_total{instance=\"a\",direction=\"out\"} 100\n";
        let crossed = Crossed::read(page);
        assert_eq!(crossed, Crossed { frames: 12, bytes: 100 });
        let earlier = Crossed { frames: 2, bytes: 60 };
        assert_eq!(crossed.since(earlier), Crossed { frames: 10, bytes: 40 });
    }
}
