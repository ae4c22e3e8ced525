//! The README's server, end to end.

use crate::client::{Server, connect, connect_ws, free_ports, over_tcp, over_ws, packet};

#[test]
fn the_server_of_the_readme_greets_over_tcp_and_ws() {
    let server = Server::start(crate::server(&free_ports()).unwrap());
    let greet = |name: &str| packet((2, 2), 1, 7, &format!(r#"{{"name":"{name}"}}"#));
    let answer = |text: &str| packet((2, 2), 1, 7, &format!("\"{text}\""));
    let ada = [answer("Hello, Ada! You are number 1.")];
    over_tcp(&mut connect(server.tcp), &greet("Ada"), &ada);
    let alan = [answer("Hello, Alan! You are number 2.")];
    over_ws(&mut connect_ws(server.ws, "/").unwrap().0, &greet("Alan"), &alan);
    server.stop();
}
