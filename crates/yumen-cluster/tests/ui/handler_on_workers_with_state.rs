//! State stays on its instance; workers are other threads.

use yumen_cluster::node::{Router, State, on};

struct Lobby;

async fn heavy(_: State<Lobby>) {}

fn main() {
    let _router: Router<Lobby> = Router::new().route(1, on(heavy).on_workers());
}
