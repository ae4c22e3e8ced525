//! A middleware takes what comes after it.

use yumen_cluster::node::{Request, Response, Router};

async fn silence(_: Request<()>) -> Response {
    Response::nothing()
}

fn main() {
    let _router: Router<()> = Router::new().layer(silence);
}
