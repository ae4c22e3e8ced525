//! A value that nobody checks.

use yumen_cluster::node::{Router, Valid, on};

#[derive(serde::Deserialize)]
struct Greet {}

async fn greet(_: Valid<Greet>) {}

fn main() {
    let _router: Router<()> = Router::new().route(1, on(greet));
}
