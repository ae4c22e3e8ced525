//! Only the last argument may use the body.

use yumen_cluster::node::{Msg, Router, on};
use yumen_proto::UserId;

async fn body_first(_: Msg<String>, _: UserId) {}

fn main() {
    let _router: Router<()> = Router::new().route(1, on(body_first));
}
