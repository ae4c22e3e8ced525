//! etcd's JSON gateway: a way to look at a server, and to act as somebody else, that shares no code with
//! the client under test.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A key as it lies on the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: String,
    pub(crate) lease: i64,
}

/// Posts to `/v3/<path>`. The answer is the body, with status 200.
pub(crate) async fn post(addr: &str, path: &str, body: Value) -> Result<Value, String> {
    let body = body.to_string();
    let head = format!(
        "POST /v3/{path} HTTP/1.0\r\nHost: etcd\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    exchange(addr, head + &body).await
}

/// Whether a member has a leader and can read through it. The member answers this itself, on the listener
/// that was asked. The gateway proper dials one of the member's own client addresses, picked at random:
/// the encrypted one may be closed to it, for a certificate that a test let expire.
pub(crate) async fn is_healthy(addr: &str) -> bool {
    let answer = exchange(addr, "GET /health HTTP/1.0\r\nHost: etcd\r\n\r\n".to_owned()).await;
    answer.is_ok_and(|answer| answer["health"] == "true")
}

/// One request, one answer: the body, with status 200.
async fn exchange(addr: &str, request: String) -> Result<Value, String> {
    let broken = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(addr).await.map_err(broken)?;
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(broken)?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if !head.starts_with("HTTP/1.0 200") && !head.starts_with("HTTP/1.1 200") {
        return Err(answer);
    }
    serde_json::from_str(body).map_err(|error| error.to_string())
}

/// Puts a value without a lease.
pub(crate) async fn put(addr: &str, key: &str, value: &str) {
    let body = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
    post(addr, "kv/put", body).await.unwrap();
}

/// Puts many values without a lease, a hundred at a time.
pub(crate) async fn put_all(addr: &str, entries: &[(String, String)]) {
    for some in entries.chunks(100) {
        let put = |(key, value): &(String, String)| {
            let put = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
            json!({ "requestPut": put })
        };
        let puts: Vec<_> = some.iter().map(put).collect();
        post(addr, "kv/txn", json!({ "success": puts })).await.unwrap();
    }
}

pub(crate) async fn delete(addr: &str, key: &str) {
    post(addr, "kv/deleterange", json!({ "key": STANDARD.encode(key) })).await.unwrap();
}

pub(crate) async fn get(addr: &str, key: &str) -> Option<Entry> {
    let answer = post(addr, "kv/range", json!({ "key": STANDARD.encode(key) })).await.unwrap();
    let kv = answer.get("kvs")?.get(0)?;
    let value = STANDARD.decode(kv["value"].as_str().unwrap_or("")).unwrap();
    let lease = kv.get("lease").map_or(0, number);
    Some(Entry { value: String::from_utf8(value).unwrap(), lease })
}

pub(crate) async fn revoke(addr: &str, lease: i64) {
    post(addr, "lease/revoke", json!({ "ID": lease.to_string() })).await.unwrap();
}

pub(crate) async fn leases(addr: &str) -> usize {
    let answer = post(addr, "lease/leases", json!({})).await.unwrap();
    answer.get("leases").and_then(Value::as_array).map_or(0, Vec::len)
}

/// Drops all history.
pub(crate) async fn compact(addr: &str) {
    let answer = post(addr, "kv/range", json!({ "key": STANDARD.encode("x") })).await.unwrap();
    let revision = number(&answer["header"]["revision"]);
    post(addr, "kv/compaction", json!({ "revision": revision.to_string() })).await.unwrap();
}

/// 64-bit numbers come as texts.
pub(crate) fn number(value: &Value) -> i64 {
    value.as_str().map_or_else(|| value.as_i64().unwrap(), |text| text.parse().unwrap())
}
