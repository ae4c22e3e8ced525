//! To an instance on the same thread: a direct call.
//!
//! A frame sent from *inside* such a call is copied and delivered right after it: otherwise a handler
//! that closes a session would find its own disconnect handler running in the middle of itself.

use crate::links::{LinkId, Links, Unsent};
use std::{
    cell::{Cell, RefCell},
    rc::Weak,
};
use yumen_proto::link::Frame;

/// Largest buffer kept while it is empty, in bytes.
const SPARE_MAX: usize = 64 * 1024;

pub(crate) struct Here {
    there: Weak<Links>,
    /// What we are called there.
    at: LinkId,
    inside: Cell<bool>,
    /// The end of the batch was asked for from inside: it is told after the last frame.
    end_due: Cell<bool>,
    /// This side went away from inside: the other learns it after the last frame.
    hang_up_due: Cell<bool>,
    held: RefCell<Vec<u8>>,
    bytes_max: usize,
}

/// Leaves the direct call, also when the receiver panics.
struct Inside<'a>(&'a Cell<bool>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Frames that are being delivered. Those a panic leaves go back to the front of the held ones.
struct Taken<'a> {
    held: &'a RefCell<Vec<u8>>,
    bytes: Vec<u8>,
    at: usize,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut held = self.held.borrow_mut();
        self.bytes.drain(..self.at.min(self.bytes.len()));
        if held.is_empty() && self.bytes.capacity() > SPARE_MAX && self.bytes.is_empty() {
            return; // the memory of a burst
        }
        if held.is_empty() || !self.bytes.is_empty() {
            self.bytes.append(&mut held);
            *held = std::mem::take(&mut self.bytes);
        }
    }
}

impl Here {
    /// A lane that holds at most `bytes_max` bytes sent from inside a delivery.
    pub(crate) fn new(there: Weak<Links>, at: LinkId, bytes_max: usize) -> Self {
        let (inside, end_due, hang_up_due) = <(Cell<_>, Cell<_>, Cell<_>)>::default();
        Self { there, at, inside, end_due, hang_up_due, held: RefCell::default(), bytes_max }
    }

    pub(crate) fn send(&self, frame: Frame<'_>) -> Result<(), Unsent> {
        let there = self.there.upgrade().ok_or(Unsent::Closed)?;
        if self.inside.get() {
            return self.hold(frame);
        }
        if !self.held.borrow().is_empty() {
            // Left by a receiver that panicked: older than this one.
            self.hold(frame)?;
            self.deliver(&there, None);
        } else {
            self.deliver(&there, Some(frame));
        }
        if self.end_due.take() {
            there.batch_end();
        }
        if self.hang_up_due.take() {
            there.drop_link(self.at);
        }
        Ok(())
    }

    fn hold(&self, frame: Frame<'_>) -> Result<(), Unsent> {
        let mut held = self.held.borrow_mut();
        // A frame larger than the bound does not wait for ever.
        if !held.is_empty() && held.len().saturating_add(frame.wire_len()) > self.bytes_max {
            return Err(Unsent::Full);
        }
        Ok(frame.encode(&mut held)?)
    }

    fn deliver(&self, there: &Links, first: Option<Frame<'_>>) {
        self.inside.set(true);
        let _inside = Inside(&self.inside);
        first.into_iter().for_each(|frame| there.receive(self.at, frame));
        while !self.held.borrow().is_empty() {
            let mut taken = Taken { held: &self.held, bytes: self.held.take(), at: 0 };
            loop {
                let mut rest = taken.bytes.get(taken.at..).unwrap_or_default();
                let frame = Frame::decode(&mut rest, usize::MAX);
                taken.at = taken.bytes.len().saturating_sub(rest.len());
                match frame {
                    Ok(Some(frame)) => there.receive(self.at, frame),
                    Err(error) if !error.is_fatal() => there.count_malformed(),
                    Ok(None) | Err(_) => break,
                }
            }
            taken.at = taken.bytes.len();
        }
    }

    /// Bytes that wait for the end of a delivery.
    pub(crate) fn queued(&self) -> usize {
        self.held.borrow().len()
    }

    pub(crate) fn flush(&self) {
        if self.inside.get() {
            self.end_due.set(true);
        } else if let Some(there) = self.there.upgrade() {
            there.batch_end();
        }
    }

    /// This side is gone.
    pub(crate) fn hang_up(&self) {
        if self.inside.get() {
            self.hang_up_due.set(true);
        } else if let Some(there) = self.there.upgrade() {
            there.drop_link(self.at);
        }
    }
}
