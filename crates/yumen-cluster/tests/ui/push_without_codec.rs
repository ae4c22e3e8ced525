//! What is sent says how it is encoded.

use yumen_cluster::node::Session;

fn greet(session: &Session) {
    let _sent = session.push(1, &5);
}

fn main() {}
