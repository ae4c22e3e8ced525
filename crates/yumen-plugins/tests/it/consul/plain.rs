//! Consul's HTTP API by hand: a way to look at an agent, and to act as due or as somebody else, that shares
//! no code with the client under test.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// One request. The answer is the status and the body.
pub(crate) async fn request(
    addr: &str,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(u16, String), String> {
    let broken = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(addr).await.map_err(broken)?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: consul\r\nX-Consul-Token: {ROOT}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.map_err(broken)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(broken)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    Ok((status, body.to_owned()))
}

/// The token that may do everything, where tokens are asked for.
pub(crate) const ROOT: &str = "11111111-2222-3333-4444-555555555555";

pub(crate) async fn get(addr: &str, path: &str) -> Value {
    let (status, body) = request(addr, "GET", path, "").await.unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

pub(crate) async fn put(addr: &str, path: &str, body: &Value) -> String {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let (status, body) = request(addr, "PUT", path, &text).await.unwrap();
    assert_eq!(status, 200, "{path}: {body}");
    body
}

/// What due does to register, and its first heartbeat.
pub(crate) async fn register(addr: &str, service: &Value) {
    put(addr, "/v1/agent/service/register", service).await;
    let id = service["ID"].as_str().unwrap();
    let passed = json!({ "Status": "passing", "Output": "passed" });
    put(addr, &format!("/v1/agent/check/update/service:{id}"), &passed).await;
}

/// What due sends for the node of its documentation, with these texts instead of those given.
pub(crate) fn dues_node(texts: &[(&str, &str)]) -> Value {
    let mut meta = json!({
        "id": "node-1", "kind": "node", "alias": "room", "state": "work",
        "endpoint": "drpc://192.168.1.10:34567?is_secure=false", "weight": "1", "events": "[1,3]",
        "routes-0": "1-0,2-6",
    });
    for (name, text) in texts {
        meta[name] = json!(text);
    }
    let id = format!("node-{}", meta["id"].as_str().unwrap());
    json!({
        "ID": id, "Name": "node", "Port": 34567, "Address": "192.168.1.10",
        "TaggedAddresses": { "drpc": { "Address": "192.168.1.10", "Port": 34567 } },
        "Meta": meta,
        // Nobody listens there, so without the check that connects.
        "Checks": [{ "CheckID": format!("service:{id}"), "TTL": "60s", "DeregisterCriticalServiceAfter": "30s" }],
    })
}

/// What due finds under a name, by its own reading rules: texts of services that pass all their checks;
/// items of routes count if they fall into exactly two parts at `-`.
pub(crate) async fn dues_reading(addr: &str, name: &str) -> Vec<Value> {
    let found = get(addr, &format!("/v1/health/service/{name}?passing=1&wait=60000ms")).await;
    let read = |entry: &Value| {
        let meta = entry["Service"]["Meta"].as_object().unwrap();
        let mut routes = Vec::new();
        for (key, piece) in meta {
            let parts: Vec<_> = key.split('-').collect();
            if let ["routes", _] = parts[..] {
                for item in piece.as_str().unwrap().split(',') {
                    if let [id, bits] = item.split('-').collect::<Vec<_>>()[..] {
                        routes.push(json!([
                            id.parse::<i64>().unwrap(),
                            bits.parse::<i64>().unwrap()
                        ]));
                    }
                }
            }
        }
        routes.sort_by_key(|route| route[0].as_i64());
        let list = |key: &str| {
            meta.get(key).map(|text| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap())
        };
        let own: Vec<_> =
            meta.iter().filter_map(|(key, value)| Some((key.strip_prefix('_')?, value))).collect();
        json!({
            "name": entry["Service"]["Service"], "id": meta["id"], "kind": meta["kind"],
            "alias": meta["alias"], "state": meta["state"], "endpoint": meta["endpoint"],
            "weight": meta.get("weight").map(|text| text.as_str().unwrap().parse::<i64>().unwrap()),
            "events": list("events"), "services": list("services"), "routes": routes, "metadata": own,
        })
    };
    found.as_array().unwrap().iter().map(read).collect()
}
