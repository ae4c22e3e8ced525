//! A handler that takes another state than its node has.

use yumen_cluster::node::{Router, State, on};

struct Lobby;
struct Board;

async fn play(_: State<Board>) {}

fn main() {
    let _router: Router<Lobby> = Router::new().route(1, on(play));
}
