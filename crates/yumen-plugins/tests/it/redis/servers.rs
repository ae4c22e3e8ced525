//! On a real Redis: the conformance suite, and what it cannot ask.

use super::server::{Server, within};
use yumen_core::conformance;

#[tokio::test]
async fn the_redis_locator_conforms() {
    let server = Server::start();
    within(60, conformance::locator(&server.locator())).await;
}
