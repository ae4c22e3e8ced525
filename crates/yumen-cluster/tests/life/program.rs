//! The program under test: a gate and a node, with ways to get stuck, to fail and to hang.

use crate::{child::setting, stores};
use std::{
    io::Read,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::oneshot;
use yumen_cluster::{
    app::App,
    gate::{Gate, Tcp},
    node::{Clients, Node, Raw, Router, State, on},
};

/// Answers with what it gets.
pub(crate) const ECHO: i32 = 1;
/// Never answers, and lets others go on.
pub(crate) const NEVER: i32 = 2;
/// Never answers, and keeps its thread.
pub(crate) const STUCK: i32 = 3;
/// Makes a task of the instance itself fail.
pub(crate) const CRASH: i32 = 4;
/// Answers after a moment.
pub(crate) const LATER: i32 = 5;

type Fuse = Arc<Mutex<Option<oneshot::Sender<()>>>>;

/// Something whose end panics where no user code is expected.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("on purpose");
    }
}

async fn echo(body: Raw) -> Raw {
    body
}

async fn later(State(_): State<Fuse>, clients: Clients, body: Raw) -> Raw {
    println!("handler later");
    clients.clock().sleep(Duration::from_millis(700)).await;
    body
}

async fn never() {
    println!("handler never");
    std::future::pending().await
}

async fn stuck() {
    println!("handler stuck");
    std::thread::sleep(Duration::from_secs(600));
}

async fn crash(State(fuse): State<Fuse>) {
    fuse.lock().unwrap().take().into_iter().for_each(|fuse| fuse.send(()).unwrap());
}

pub(crate) fn main() -> ExitCode {
    App::main(|settings| {
        println!("building");
        if setting("BUILD").is_some() {
            let _until_it_is_closed = std::io::stdin().read(&mut [0]);
        }
        let cluster = stores::cluster(settings, &[ECHO]);
        let links = setting("LINKS").unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let parts = setting("PARTS").unwrap_or_else(|| "gate node".to_owned());
        let name = setting("NAME").unwrap_or_else(|| "lobby".to_owned());
        let fuse = Fuse::default();
        let state = Arc::clone(&fuse);
        let routes = Router::new()
            .route(ECHO, on(echo))
            .route(NEVER, on(never))
            .route(STUCK, on(stuck))
            .route(CRASH, on(crash))
            .route(LATER, on(later));
        let mut node = Node::builder(&cluster, name.as_str(), move |_| Arc::clone(&state))
            .id(name.as_str())
            .routes(routes)
            .link_addr(links.as_str());
        let hook = setting("HOOK").unwrap_or_default();
        if hook.contains("start-panics") {
            node = node.on_start(async |_: State<Fuse>, _: Clients| panic!("on purpose"));
        }
        if hook.contains("stop-panics") {
            node = node.on_stop(async |_: State<Fuse>, _: Clients| panic!("on purpose"));
        }
        if hook.contains("start-never") {
            node = node.on_start(async |_: State<Fuse>, _: Clients| {
                println!("hook");
                std::future::pending().await
            });
        }
        if hook.contains("stop-never") {
            node = node.on_stop(async |_: State<Fuse>, _: Clients| std::future::pending().await);
        }
        let node = node.build()?;
        let handle = node.handles()[0].clone();
        let (go, gone) = oneshot::channel();
        *fuse.lock().unwrap() = Some(go);
        drop(handle.run(|_: Clients| async {
            let _asker_gone = gone.await;
            Ok(Bomb)
        }));
        let addr = setting("ADDR").unwrap_or_else(|| "127.0.0.1:0".to_owned());
        let gate = Gate::builder(&cluster).id("gate-1").listen(Tcp::on(addr)).link_addr(links);
        let mut app = App::default();
        if parts.contains("node") {
            app = app.with(node);
        }
        if setting("BROKEN").is_some() {
            let broken = Node::builder(&cluster, "broken", |_| -> () { panic!("on purpose") });
            app = app.with(broken.build()?);
        }
        if parts.contains("gate") {
            app = app.with(gate.build()?);
        }
        if let Some(path) = setting("PID") {
            app = app.pid_file(path);
        }
        if let Some(limit) = setting("DRAIN_MS") {
            app = app.drain_max(Duration::from_millis(limit.parse()?));
        }
        Ok(app)
    })
}
