//! An error that says nothing to a client.

use yumen_cluster::node::{Msg, Router, on};

struct TableFull;

async fn sit(_: Msg<u8>) -> Result<(), TableFull> {
    Err(TableFull)
}

fn main() {
    let _router: Router<()> = Router::new().route(1, on(sit));
}
