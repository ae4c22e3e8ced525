//! A handler that returns something that cannot be sent.

use yumen_cluster::node::{Router, on};
use yumen_proto::UserId;

async fn number(_: UserId) -> i32 {
    1
}

fn main() {
    let _router: Router<()> = Router::new().route(1, on(number));
}
