//! An event has no body.

use yumen_cluster::node::{Msg, Router};
use yumen_core::cluster::Event;

async fn came(_: Msg<String>) {}

fn main() {
    let _router: Router<()> = Router::new().event(Event::Connect, came);
}
