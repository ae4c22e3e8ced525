//! An echo over TCP: dribbled bytes, megabytes at once, a client that does not read, and churn.

use crate::run;
use std::{
    cell::RefCell,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{spawn_local, yield_now},
};
use yumen_net::{
    driver::{Driver, Service, Transport, Turn},
    env::{Dice, Env},
};
use yumen_proto::{
    conn::{CloseReason, Heartbeat, Now, ServerConn, ServerEvent, Settings},
    id::{ConnId, RouteId},
    packet::Layout,
};

type Ended = Rc<RefCell<Vec<(ConnId, u64, CloseReason)>>>;

/// Sends every message back; on route 1 with the connection's own data in front of it.
struct Echo {
    driver: Rc<Driver<ServerConn, u64>>,
    ended: Ended,
}

impl Service<ServerConn, u64> for Echo {
    fn on_event(&self, conn: ConnId, event: ServerEvent<'_>) -> Turn {
        let ServerEvent::Message(data) = event else { return Turn::Go };
        if data.route == RouteId(1) {
            let known = self.driver.with(conn, |_, _, data| *data).unwrap();
            let body = [&known.to_be_bytes(), data.body].concat();
            self.driver.append(conn, &packet(1, &body));
        } else {
            self.driver.append(conn, data.raw);
        }
        Turn::Go
    }
    fn on_closed(&self, conn: ConnId, data: u64, reason: CloseReason) {
        self.ended.borrow_mut().push((conn, data, reason));
    }
}

struct Server {
    addr: SocketAddr,
    driver: Rc<Driver<ServerConn, u64>>,
    ended: Ended,
    env: Env,
}

impl Server {
    /// Every connection's data is its id.
    async fn start() -> Self {
        let (env, ended) = (Env::real(), Ended::default());
        let driver = Driver::new(&env);
        let service = Echo { driver: Rc::clone(&driver), ended: Rc::clone(&ended) };
        driver.start(&(Rc::new(service) as Rc<dyn Service<ServerConn, u64>>));
        let mut listener = env.net.listen("127.0.0.1:0").await.unwrap();
        let addr = listener.addr().unwrap();
        let silent = Heartbeat { interval: Duration::ZERO, ..Heartbeat::default() };
        let settings = Settings {
            heartbeat: silent,
            write_stall_max: Duration::from_secs(2),
            ..Settings::default()
        };
        let (settings, clock, host) = (Arc::new(settings), env.clock.clone(), Rc::clone(&driver));
        env.spawn.local(async move {
            let mut next = 0;
            while let Ok((socket, _)) = listener.accept().await {
                next += 1;
                let machine = ServerConn::new(Arc::clone(&settings), clock.now());
                let id = host.accept(socket, Transport::Stream, machine, next);
                assert_eq!(u64::try_from(id.0), Ok(next));
            }
        });
        Self { addr, driver, ended, env }
    }

    async fn client(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    async fn stop(self) {
        self.env.spawn.abort_all();
        self.env.spawn.idle().await;
    }
}

fn packet(route: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    Layout::default().encode_data(RouteId(route), 5, body, &mut bytes).unwrap();
    bytes
}

async fn answer(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[test]
fn a_packet_that_comes_byte_by_byte_is_one_packet() {
    run(async {
        let server = Server::start().await;
        let (mut stream, sent) = (server.client().await, packet(2, &[7; 100]));
        for byte in &sent {
            let reads = server.driver.stats.reads.get();
            stream.write_all(&[*byte]).await.unwrap();
            while server.driver.stats.reads.get() == reads {
                yield_now().await;
            }
        }
        assert_eq!(answer(&mut stream, sent.len()).await, sent);
        server.stop().await;
    });
}

#[test]
fn megabytes_at_once_in_packets_of_any_size_come_back_unharmed() {
    run(async {
        let server = Server::start().await;
        let (dice, mut sent) = (Dice::seeded(7), Vec::new());
        for n in 0..400_u32 {
            let len = [0, 1, 10, 1000, 5000, 60_000][usize::try_from(dice.below(6)).unwrap()];
            sent.extend(packet(2, &vec![n as u8; len]));
        }
        assert!(sent.len() > 3_000_000);
        let (mut read, mut write) = server.client().await.into_split();
        let all = sent.clone();
        let writer = spawn_local(async move {
            write.write_all(&all).await.unwrap();
            write // closing it would end the connection
        });
        let mut back = vec![0; sent.len()];
        read.read_exact(&mut back).await.unwrap();
        assert!(back == sent, "the bytes are harmed");
        let _open = writer.await.unwrap();
        server.stop().await;
    });
}

#[test]
fn w16_a_client_that_stops_reading_is_closed_and_the_others_are_served() {
    run(async {
        let server = Server::start().await;
        let mut calm = server.client().await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stalled = socket.connect(server.addr).await.unwrap();
        let flood = spawn_local(async move {
            let one = packet(2, &[0; 30_000]);
            let mut sent = 0;
            while stalled.write_all(&one).await.is_ok() {
                sent += one.len();
            }
            sent
        });
        let (ping, mut worst) = (packet(2, b"ping"), Duration::ZERO);
        while server.ended.borrow().is_empty() {
            let start = Instant::now();
            calm.write_all(&ping).await.unwrap();
            assert_eq!(answer(&mut calm, ping.len()).await, ping);
            worst = worst.max(start.elapsed());
            yield_now().await;
        }
        let ended = server.ended.borrow()[0];
        assert!(matches!(ended, (ConnId(2), 2, CloseReason::Backlog)), "{ended:?}");
        assert!(worst < Duration::from_millis(500), "a calm client waited {worst:?}");
        assert!(flood.await.unwrap() < 64 * 1024 * 1024);
        calm.write_all(&ping).await.unwrap();
        assert_eq!(answer(&mut calm, ping.len()).await, ping);
        server.stop().await;
    });
}

#[test]
fn w37_a_suspended_client_is_closed_by_the_stall_limit_while_pushes_go_on() {
    run(async {
        let server = Server::start().await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let _suspended = socket.connect(server.addr).await.unwrap();
        while server.driver.is_empty() {
            yield_now().await;
        }
        let mut pushed = 0_usize;
        let push = packet(2, &[0; 60_000]);
        // Until the socket takes no more, then a little each time: far below the backlog limit.
        while server.driver.stats.blocked.get() == 0 {
            server.driver.append(ConnId(1), &push);
            server.driver.flush();
            pushed += 1;
            yield_now().await;
        }
        let start = Instant::now();
        while server.ended.borrow().is_empty() && start.elapsed() < Duration::from_secs(10) {
            server.driver.append(ConnId(1), &packet(2, b"x"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let took = start.elapsed();
        assert_eq!(*server.ended.borrow(), [(ConnId(1), 1, CloseReason::Stalled)]);
        assert!(took < Duration::from_secs(4), "{took:?} after {pushed} pushes");
        server.stop().await;
    });
}

#[test]
fn an_oversize_packet_closes_the_connection_after_what_came_before() {
    run(async {
        let server = Server::start().await;
        let (mut stream, ping) = (server.client().await, packet(2, b"ping"));
        stream.write_all(&ping).await.unwrap();
        stream.write_all(&(1_u32 << 24).to_be_bytes()).await.unwrap();
        let _may_be_closed = stream.write_all(&[b'x'; 100]).await;
        assert_eq!(answer(&mut stream, ping.len()).await, ping);
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "an end, not a reset");
        while server.ended.borrow().is_empty() {
            yield_now().await;
        }
        let ended = server.ended.borrow()[0];
        assert!(matches!(ended, (ConnId(1), 1, CloseReason::Malformed(_))), "{ended:?}");
        server.stop().await;
    });
}

#[test]
fn w17_thousands_of_clients_come_and_go_and_each_gets_its_own_answers() {
    const CLIENTS: u64 = 3000;
    run(async {
        let server = Server::start().await;
        let (addr, seen) = (server.addr, Rc::new(RefCell::new(Vec::new())));
        let workers: Vec<_> = (0..20_u64)
            .map(|worker| {
                let seen = Rc::clone(&seen);
                spawn_local(async move {
                    for round in 0..CLIENTS / 20 {
                        let mut stream = TcpStream::connect(addr).await.unwrap();
                        let mark = (worker * 1000 + round).to_be_bytes();
                        let mut mine = None;
                        for _ in 0..round % 4 {
                            stream.write_all(&packet(1, &mark)).await.unwrap();
                            let answer = answer(&mut stream, packet(1, &[0; 16]).len()).await;
                            let (head, body) = answer[9..].split_at(8);
                            assert_eq!(body, mark, "somebody else's answer");
                            assert_eq!(*mine.get_or_insert(head.to_vec()), head);
                        }
                        seen.borrow_mut().extend(mine);
                        if round % 5 == 0 {
                            // An end by reset, with an answer on its way.
                            let _gone = stream.write_all(&packet(1, &mark)).await;
                            stream.set_zero_linger().unwrap();
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        while server.ended.borrow().len() < usize::try_from(CLIENTS).unwrap() {
            yield_now().await;
        }
        let mut ids: Vec<_> =
            server.ended.borrow().iter().map(|(id, data, _)| (id.0, *data)).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq((1..=CLIENTS).map(|n| (n as i64, n))), "each ends once");
        let mut seen = seen.take();
        let asked = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), asked, "two clients were told the same identity");
        server.stop().await;
    });
}

#[test]
fn w41_stopping_while_clients_leave_reports_each_once() {
    run(async {
        let server = Server::start().await;
        let mut clients = Vec::new();
        for _ in 0..300 {
            clients.push(server.client().await);
        }
        while server.driver.len() < 300 {
            yield_now().await;
        }
        let leaving = spawn_local(async move {
            while let Some(client) = clients.pop() {
                drop(client);
                if clients.len() % 10 == 0 {
                    yield_now().await;
                }
            }
        });
        yield_now().await;
        server.driver.close_all(CloseReason::Shutdown, "stopping");
        while server.ended.borrow().len() < 300 {
            yield_now().await;
        }
        leaving.await.unwrap();
        let mut ids: Vec<_> = server.ended.borrow().iter().map(|(id, ..)| id.0).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(1..=300) && server.driver.is_empty());
        server.stop().await;
    });
}

/// The runtime's budget of operations per task turn must not make sockets look full.
#[test]
fn a_task_with_a_budget_may_write_to_more_sessions_than_it_has_operations() {
    run(async {
        let server = Server::start().await;
        let mut clients = Vec::new();
        for _ in 0..300 {
            clients.push(server.client().await);
        }
        while server.driver.len() < 300 {
            yield_now().await;
        }
        let (driver, ids) = (Rc::clone(&server.driver), server.driver.ids());
        let push = packet(2, &[9; 200_000][..60_000]);
        spawn_local(async move {
            for id in ids {
                // More than a socket takes at once, so that each asks the runtime for room.
                (0..12).for_each(|_| assert!(driver.append(id, &push)));
            }
            driver.flush();
        })
        .await
        .unwrap();
        for client in &mut clients {
            for _ in 0..12 {
                answer(client, packet(2, &[0; 60_000]).len()).await;
            }
        }
        assert!(server.ended.borrow().is_empty());
        let _now: Now = server.driver.now();
        server.stop().await;
    });
}
