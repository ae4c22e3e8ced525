//! The chat from the keyboard: what is typed is said, what happens is printed.
//!
//! It knows the server by its messages alone. Lines may also come from a pipe, which makes it a bot:
//! `printf '/join lobby\nhello\n/quit\n' | cargo run --release --example chat-client -- Ada`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to a person")]

mod messages;

use clap::Parser;
use messages::*;
use std::{io::BufRead, process::ExitCode};
use tokio::sync::mpsc;
use yumen::{
    client::{self, Push},
    codec::Protobuf,
    prelude::*,
};

/// Talks to the chat example from the keyboard.
///
/// /join ROOM enters a room and makes it the one you talk in; /leave, /who and /dismiss are about that
/// room; /quit ends. Every other line is said.
#[derive(Debug, Parser)]
#[command(
    name = "chat-client",
    after_help = "Example:\n  cargo run --release --example chat-client -- Ada"
)]
struct Arguments {
    /// Who you are. The same name a second time takes over from the first.
    name: String,
    /// Where the chat listens: HOST:PORT, or ws://HOST:PORT/.
    #[arg(long, default_value = "127.0.0.1:3553", value_name = "ADDR")]
    connect: String,
}

type Client = client::Client<Protobuf>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let clients = client::Clients::builder().codec(Protobuf);
    let talked = clients.run(async |clients| {
        let client = clients.connect(&arguments.connect).await?;
        let name = arguments.name.clone();
        let welcome: Welcome = client.call(LOGIN, &Login { name }).await?;
        println!("* you are user {}", welcome.user);
        talk(&client, welcome.rooms).await
    });
    match talked.map_err(Into::into).and_then(|talked| talked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error: Box<dyn std::error::Error> = error;
            eprintln!("chat-client: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Until the keyboard or the connection ends.
async fn talk(client: &Client, rooms: Vec<Room>) -> Result<(), Box<dyn std::error::Error>> {
    let mut room = None;
    for back in rooms {
        println!("* you are back in {}: {}", back.room, back.members.join(", "));
        room = Some(back.room);
    }
    let mut lines = keyboard();
    loop {
        tokio::select! {
            biased;
            push = client.next_push() => match push {
                Some(push) => print(client, &push)?,
                None => {
                    let why = client.close_reason().map_or_else(String::new, |why| why.to_string());
                    return Err(format!("the connection has ended: {why}").into());
                }
            },
            line = lines.recv() => match line.as_deref().map(str::trim) {
                None | Some("/quit") => return Ok(()),
                Some("") => {}
                // A refusal is an answer: it is shown, and the talk goes on.
                Some(line) => match obey(client, &mut room, line).await {
                    Ok(()) => {}
                    Err(status) => println!("! {}", refusal(&status)),
                },
            },
        }
    }
}

async fn obey(client: &Client, room: &mut Option<String>, line: &str) -> Result<(), Status> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    if word == "/join" {
        let which = Which { room: rest.trim().to_owned() };
        let joined: Room = client.call(JOIN, &which).await?;
        println!("* you are in {}: {}", joined.room, joined.members.join(", "));
        *room = Some(joined.room);
        return Ok(());
    }
    let Some(name) = room.clone() else {
        println!("! first /join ROOM");
        return Ok(());
    };
    let which = Which { room: name.clone() };
    match word {
        "/leave" | "/dismiss" => {
            let route = if word == "/leave" { LEAVE } else { DISMISS };
            let _: Number = client.call(route, &which).await?;
            *room = None;
        }
        "/who" => {
            let view: Room = client.call(MEMBERS, &which).await?;
            println!("* in {}: {}", view.room, view.members.join(", "));
        }
        _ if word.starts_with('/') => println!("! there is /join, /leave, /who, /dismiss, /quit"),
        _ => {
            let say = Say { room: name, text: line.to_owned() };
            let _: Number = client.call(SAY, &say).await?;
        }
    }
    Ok(())
}

/// A program branches on the code; the message is for people.
fn refusal(status: &Status) -> String {
    match status.code() {
        ROOM_FULL => format!("{}; try another room", status.message()),
        NOT_A_MEMBER => format!("{}; /join it first", status.message()),
        _ => status.to_string(),
    }
}

fn print(client: &Client, push: &Push) -> Result<(), Box<dyn std::error::Error>> {
    if push.route != RouteId(NEWS) {
        return Ok(()); // A newer server says more.
    }
    let news: News = client.decode(push)?;
    let News { room, who, text, .. } = &news;
    match news.what() {
        What::Said => println!("[{room}] {who}: {text}"),
        What::Joined => println!("[{room}] {who} has joined"),
        What::Left => println!("[{room}] {who} has left"),
        What::Dismissed => println!("[{room}] {who} has closed the room"),
    }
    Ok(())
}

/// Lines typed, read on a thread of their own, since the standard input cannot be awaited.
fn keyboard() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
