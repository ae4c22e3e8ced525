//! The client of the quick start: says hello once a second, three times, and prints what it is answered.
//!
//! `quickstart-client [ADDRESS]`; without one it is `ws://127.0.0.1:3553/`.
#![expect(clippy::print_stdout, reason = "an example talks to a person")]

use std::time::Duration;
use yumen::client::Clients;

#[derive(serde::Serialize)]
struct Hello {
    message: String,
}

#[derive(serde::Deserialize)]
struct Answer {
    message: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:3553/".to_owned());
    Clients::run(async |clients| {
        let client = clients.connect(&address).await?;
        for n in 1..=3 {
            let message = format!("hello number {n}");
            let answer: Answer = client.call(1, &Hello { message }).await?;
            println!("{}", answer.message);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    })?
}
