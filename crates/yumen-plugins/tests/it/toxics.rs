//! Registries behind a real Toxiproxy: a line that is slow, cut, reset, or swallows everything.

/// What needs servers.
mod servers {
    use crate::{
        consul::agent::Agent,
        nacos,
        registry::{follow, is_well, join, never_lacks, node, until, within},
    };
    use serde_json::{Value, json};
    use std::{
        env,
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        path::Path,
        process::{Child, Command, Stdio},
        time::Duration,
    };
    use tokio::time::sleep;
    use yumen_core::{
        cluster::{Instance, Kind, State},
        health::Health,
        registry::Registry,
    };
    use yumen_plugins::{consul::ConsulRegistry, nacos::NacosRegistry};

    /// Shorter than any registration takes to run out, longer than a call may take.
    const OUTAGE: Duration = Duration::from_secs(3);
    const CALL_MAX: Duration = Duration::from_secs(1);

    /// A line to a server, through a Toxiproxy of its own.
    struct Line {
        child: Child,
        api: String,
        near: String,
    }

    impl Line {
        /// To `far`, with a round trip of 80 ms.
        async fn to(far: &str) -> Self {
            let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/servers/toxiproxy");
            let there = Path::new(built).exists();
            let program = env::var("YUMEN_TOXIPROXY");
            let program = program
                .unwrap_or_else(|_| if there { built } else { "toxiproxy-server" }.to_owned());
            let held = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = held.local_addr().unwrap().port().to_string();
            drop(held);
            let mut command = Command::new(&program);
            command.args(["-host", "127.0.0.1", "-port", &port]);
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let child = child.unwrap_or_else(|error| {
                panic!(
                    "no {program} ({error}); `cargo xtask test --only servers --install` builds it"
                )
            });
            let mut this = Self { child, api: format!("127.0.0.1:{port}"), near: String::new() };
            within(async {
                while this.ask("GET", "/version", "").is_err() {
                    sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            let line = json!({ "name": "line", "listen": "127.0.0.1:0", "upstream": far });
            let made: Value =
                serde_json::from_str(&this.ask("POST", "/proxies", &line.to_string()).unwrap())
                    .unwrap();
            this.near = made["listen"].as_str().unwrap().to_owned();
            for stream in ["upstream", "downstream"] {
                this.toxic(stream, "latency", stream, json!({ "latency": 40 }));
            }
            this
        }

        fn toxic(&self, name: &str, what: &str, stream: &str, attributes: Value) {
            let toxic =
                json!({ "name": name, "type": what, "stream": stream, "attributes": attributes });
            self.ask("POST", "/proxies/line/toxics", &toxic.to_string()).unwrap();
        }

        fn heal(&self, name: &str) {
            self.ask("DELETE", &format!("/proxies/line/toxics/{name}"), "").unwrap();
        }

        fn set(&self, is_whole: bool) {
            self.ask("POST", "/proxies/line", &json!({ "enabled": is_whole }).to_string()).unwrap();
        }

        fn ask(&self, method: &str, path: &str, body: &str) -> Result<String, String> {
            let broken = |error: std::io::Error| error.to_string();
            let mut stream = TcpStream::connect(&self.api).map_err(broken)?;
            let (api, len) = (&self.api, body.len());
            write!(
                stream,
                "{method} {path} HTTP/1.0\r\nHost: {api}\r\nContent-Length: {len}\r\n\r\n{body}"
            )
            .map_err(broken)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).map_err(broken)?;
            let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
            let good = head.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
            if good { Ok(body.to_owned()) } else { Err(answer) }
        }
    }

    impl Drop for Line {
        fn drop(&mut self) {
            let _gone = self.child.kill();
            let _reaped = self.child.wait();
        }
    }

    /// `behind` reaches its server by the line, `beside` without it.
    async fn nobody_is_lost(line: &Line, behind: &impl Registry, beside: &impl Registry) {
        let at = |id: &str, port: u16| Instance {
            endpoint: format!("drpc://127.0.0.1:{port}"),
            ..node(id)
        };
        let (a, b) = (at("a", 4001), at("b", 4002));
        join(behind, &a).await;
        join(beside, &b).await;
        let (mut far, mut near) = (follow(behind).await, follow(beside).await);
        for set in [&mut far, &mut near] {
            until(set, |set| set.len() == 2).await;
        }
        let watched = [&far, &near].map(|set| never_lacks(set.clone(), &["a", "b"]));
        let mut states = [State::Busy, State::Work].into_iter().cycle();
        for trouble in ["cut", "reset", "swallow"] {
            match trouble {
                "cut" => line.set(false),
                "reset" => line.toxic("reset", "reset_peer", "downstream", json!({ "timeout": 0 })),
                _ => line.toxic("swallow", "timeout", "upstream", json!({ "timeout": 0 })),
            }
            within(async {
                while behind.health() == Health::Good {
                    sleep(Duration::from_millis(5)).await;
                }
            })
            .await;
            // What happens meanwhile is known afterwards, on both sides.
            let changed = Instance { state: states.next().unwrap(), ..b.clone() };
            join(beside, &changed).await;
            sleep(OUTAGE).await;
            assert_eq!(far.current().len(), 2, "the last good set, during {trouble}");
            match trouble {
                "cut" => line.set(true),
                "reset" => line.heal("reset"),
                _ => line.heal("swallow"),
            }
            is_well(behind).await;
            for set in [&mut far, &mut near] {
                until(set, |set| set.contains(&changed)).await;
            }
        }
        assert!(watched.iter().all(|watched| !watched.is_finished()));
        watched.iter().for_each(|watched| watched.abort());
        within(behind.leave(&"a".into(), Kind::Node)).await.unwrap();
        until(&mut near, |set| set.len() == 1).await;
    }

    #[tokio::test]
    async fn w20_consul_behind_a_slow_and_broken_line_loses_nobody() {
        let agent = Agent::start().await;
        let line = Line::to(&agent.addr()).await;
        let registry = |addr: &str| {
            let builder = ConsulRegistry::builder(addr).health_check(None).timeout(CALL_MAX);
            builder.heartbeat_check_interval(Duration::from_secs(20)).build().unwrap()
        };
        nobody_is_lost(&line, &registry(&line.near), &registry(&agent.addr())).await;
    }

    #[tokio::test]
    async fn w20_nacos_behind_a_slow_and_broken_line_loses_nobody() {
        let server = nacos::server::Server::start().await;
        let line = Line::to(&server.addr()).await;
        let registry = |addr: &str| {
            let url = format!("http://{addr}/nacos");
            NacosRegistry::builder([url]).timeout(CALL_MAX).build().unwrap()
        };
        nobody_is_lost(&line, &registry(&line.near), &registry(&server.addr())).await;
    }
}
