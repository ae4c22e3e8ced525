//! Nobody waits for an answer to an event.

use yumen_cluster::node::{Msg, Router};
use yumen_core::cluster::Event;
use yumen_proto::ConnId;

async fn came(_: ConnId) -> Msg<&'static str> {
    Msg("hello")
}

fn main() {
    let _router: Router<()> = Router::new().event(Event::Connect, came);
}
