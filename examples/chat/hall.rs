//! Who is here and in which room: the chat's state, and nothing that waits or sends.
//!
//! A person is a user with at most one connection. A second login moves the person to the newer
//! connection with all rooms, so everything here asks "which connection is it?" and never trusts a user
//! number that was stamped on a message earlier.
#![expect(clippy::arithmetic_side_effects, reason = "64-bit counters, each step one message")]

use crate::messages::{NOT_A_MEMBER, News, ROOM_FULL, Room as View, What};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use yumen::{prelude::*, proto::id::InstanceId};

/// Most people in one room.
const MEMBERS_MAX: usize = 100;
/// Most rooms that one person is in.
const ROOMS_MAX: usize = 20;

/// A connection: its gate, and its number there.
pub(crate) type Line = (Option<InstanceId>, ConnId);

/// News and the channel to publish it on.
pub(crate) type Published = (String, News);

/// Everybody and every room. People who are gone, and rooms that are empty, are forgotten.
#[derive(Default)]
pub(crate) struct Hall {
    lines: HashMap<Line, UserId>,
    users: HashMap<String, UserId>,
    people: HashMap<UserId, Person>,
    rooms: BTreeMap<String, Room>,
    /// The last number given to a user, and to a room.
    numbers: (i64, u64),
}

struct Person {
    name: String,
    line: Option<Line>,
    /// Logins under way: while there are any, the end of the old connection is not the end.
    coming: usize,
    rooms: BTreeSet<String>,
}

struct Room {
    /// Never used again, so that who is late to be unsubscribed hears nothing of the next room.
    channel: String,
    number: u64,
    made_by: UserId,
    members: BTreeMap<String, UserId>,
}

impl Hall {
    /// Somebody of that name begins to log in; call [`Hall::arrived`] or [`Hall::refused`] next.
    ///
    /// # Errors
    /// The connection belongs to somebody else already.
    pub(crate) fn arriving(&mut self, line: &Line, name: &str) -> Result<UserId, Status> {
        let other = self.lines.get(line).and_then(|user| self.people.get(user));
        if let Some(other) = other.filter(|other| other.name != name) {
            let why = format!("this connection is {}'s; open another one", other.name);
            return Err(Status::new(Code::ILLEGAL_INVOKE, why));
        }
        let user = match self.users.get(name) {
            Some(user) => *user,
            None => {
                self.numbers.0 += 1;
                self.users.insert(name.to_owned(), UserId(self.numbers.0));
                UserId(self.numbers.0)
            }
        };
        let person = self.people.entry(user).or_insert_with(|| Person {
            name: name.to_owned(),
            line: None,
            coming: 0,
            rooms: BTreeSet::new(),
        });
        person.coming += 1;
        Ok(user)
    }

    /// The gate has given the user to this connection. Gives the person's rooms.
    pub(crate) fn arrived(&mut self, user: UserId, line: Line) -> Vec<String> {
        let Some(person) = self.people.get_mut(&user) else { return Vec::new() };
        person.coming = person.coming.saturating_sub(1);
        if let Some(old) = person.line.replace(line.clone()) {
            self.lines.remove(&old);
        }
        self.lines.insert(line, user);
        person.rooms.iter().cloned().collect()
    }

    /// The gate has refused. If the person's other connection ended meanwhile, it was the last.
    pub(crate) fn refused(&mut self, user: UserId) -> Vec<Published> {
        if let Some(person) = self.people.get_mut(&user) {
            person.coming = person.coming.saturating_sub(1);
        }
        self.forget(user)
    }

    /// The connection has ended. A person with no other one leaves every room.
    pub(crate) fn gone(&mut self, line: &Line) -> Vec<Published> {
        // Not there: never logged in, or the person has moved to a newer connection.
        let Some(user) = self.lines.remove(line) else { return Vec::new() };
        if let Some(person) = self.people.get_mut(&user) {
            person.line = None;
        }
        self.forget(user)
    }

    fn forget(&mut self, user: UserId) -> Vec<Published> {
        let lost = |person: &&Person| person.line.is_none() && person.coming == 0;
        if self.people.get(&user).filter(lost).is_none() {
            return Vec::new();
        }
        let Some(person) = self.people.remove(&user) else { return Vec::new() };
        self.users.remove(&person.name);
        let news = person.rooms.iter().filter_map(|room| self.take_out(room, &person.name));
        news.collect()
    }

    /// Enters a room, or makes it. The news is for those who were there before.
    ///
    /// # Errors
    /// The room is full, or the person is in it already, or in too many.
    pub(crate) fn join(&mut self, line: &Line, name: &str) -> Result<(Published, View), Status> {
        let user = self.user(line)?;
        let Some(person) = self.people.get_mut(&user) else { return Err(elsewhere()) };
        if person.rooms.contains(name) {
            return Err(Status::new(Code::ILLEGAL_INVOKE, format!("you are in {name} already")));
        }
        if person.rooms.len() >= ROOMS_MAX {
            let why = format!("you are in {ROOMS_MAX} rooms; leave one first");
            return Err(Status::new(Code::TOO_MANY_REQUESTS, why));
        }
        let room = self.rooms.entry(name.to_owned()).or_insert_with(|| {
            self.numbers.1 += 1;
            let channel = format!("room {}", self.numbers.1);
            Room { channel, number: 0, made_by: user, members: BTreeMap::new() }
        });
        if room.members.len() >= MEMBERS_MAX {
            return Err(Status::new(ROOM_FULL, format!("{name} has {MEMBERS_MAX} members")));
        }
        person.rooms.insert(name.to_owned());
        room.members.insert(person.name.clone(), user);
        let news = room.news(name, What::Joined, &person.name, "");
        Ok((news, room.view(name)))
    }

    /// Leaves a room; the last to leave closes it.
    ///
    /// # Errors
    /// The person is not in it.
    pub(crate) fn leave(&mut self, line: &Line, name: &str) -> Result<Published, Status> {
        let user = self.user(line)?;
        let Some(person) = self.people.get_mut(&user) else { return Err(elsewhere()) };
        if !person.rooms.remove(name) {
            return Err(not_a_member(name));
        }
        let who = person.name.clone();
        self.take_out(name, &who).ok_or_else(|| not_a_member(name))
    }

    fn take_out(&mut self, name: &str, who: &str) -> Option<Published> {
        let room = self.rooms.get_mut(name)?;
        room.members.remove(who)?;
        let news = room.news(name, What::Left, who, "");
        if room.members.is_empty() {
            self.rooms.remove(name);
        }
        Some(news)
    }

    /// Says something in a room.
    ///
    /// # Errors
    /// The person is not in it.
    pub(crate) fn say(&mut self, line: &Line, name: &str, text: &str) -> Result<Published, Status> {
        let user = self.user(line)?;
        let Some(person) = self.people.get(&user) else { return Err(elsewhere()) };
        match self.rooms.get_mut(name) {
            Some(room) if person.rooms.contains(name) => {
                Ok(room.news(name, What::Said, &person.name, text))
            }
            _ => Err(not_a_member(name)),
        }
    }

    /// A room as it is now.
    ///
    /// # Errors
    /// There is none of that name.
    pub(crate) fn view(&self, name: &str) -> Result<View, Status> {
        let room = self.rooms.get(name).ok_or_else(|| no_room(name))?;
        Ok(room.view(name))
    }

    /// The channel that a room's news is published on.
    pub(crate) fn channel(&self, name: &str) -> Option<String> {
        self.rooms.get(name).map(|room| room.channel.clone())
    }

    /// Closes a room. Gives its last news, and who was in it.
    ///
    /// # Errors
    /// There is none of that name, or somebody else made it.
    pub(crate) fn dismiss(
        &mut self,
        line: &Line,
        name: &str,
    ) -> Result<(Published, Vec<UserId>), Status> {
        let user = self.user(line)?;
        let room = self.rooms.get(name).ok_or_else(|| no_room(name))?;
        if room.made_by != user {
            return Err(Status::new(Code::ILLEGAL_REQUEST, format!("{name} is not your room")));
        }
        let Some(mut room) = self.rooms.remove(name) else { return Err(no_room(name)) };
        for member in room.members.values() {
            if let Some(person) = self.people.get_mut(member) {
                person.rooms.remove(name);
            }
        }
        let who = self.people.get(&user).map_or_else(String::new, |person| person.name.clone());
        Ok((room.news(name, What::Dismissed, &who, ""), room.members.into_values().collect()))
    }

    /// Whose connection it is now.
    fn user(&self, line: &Line) -> Result<UserId, Status> {
        self.lines.get(line).copied().ok_or_else(elsewhere)
    }
}

impl Room {
    fn news(&mut self, room: &str, what: What, who: &str, text: &str) -> Published {
        self.number += 1;
        let news = News {
            room: room.to_owned(),
            number: self.number,
            what: what.into(),
            who: who.to_owned(),
            text: text.to_owned(),
        };
        (self.channel.clone(), news)
    }

    fn view(&self, room: &str) -> View {
        let members = self.members.keys().cloned().collect();
        View { room: room.to_owned(), number: self.number, members }
    }
}

fn elsewhere() -> Status {
    Status::unauthorized("not logged in on this connection")
}

fn not_a_member(room: &str) -> Status {
    Status::new(NOT_A_MEMBER, format!("you are not in {room}"))
}

fn no_room(room: &str) -> Status {
    Status::not_found(format!("there is no room {room}"))
}
