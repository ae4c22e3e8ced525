//! A handler that is not async.

use yumen_cluster::node::{Router, on};
use yumen_proto::UserId;

fn not_async(_: UserId) {}

fn main() {
    let _router: Router<()> = Router::new().route(1, on(not_async));
}
