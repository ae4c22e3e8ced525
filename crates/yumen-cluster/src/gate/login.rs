//! Who a connection belongs to: binding, unbinding, and what happens when a user logs in twice.
//!
//! The locator decides who has a user: the newest claim. A gate that hears of a newer claim than its
//! own, from itself or from elsewhere, applies its policy to the connection that lost (W-40).

use super::{
    hall::{Faults, Hall},
    plan::DuplicateLogin,
    serve::Asker,
    sessions::{Bound, Login, Session},
    stats::bump,
};
use rustc_hash::FxHashMap;
use std::{rc::Rc, sync::Arc};
use yumen_core::{
    Code,
    cluster::Event,
    locator::{Attempt, Claim, LocatorError, Moved, Moves, Role},
};
use yumen_proto::{
    conn::CloseReason,
    id::{ConnId, Epoch, UserId},
    link::{Reply, code},
};

/// What a login is answered that the policy refuses, or that a later one has overtaken.
const TAKEN: u16 = Code::ILLEGAL_INVOKE.0;

/// Users whose logins are under way on one gate instance. While this gate waits for the answer to its
/// claim, news of a newer claim elsewhere finds nobody logged in here: it is kept until then.
#[derive(Debug, Default)]
pub(super) struct Claims(FxHashMap<UserId, Pending>);

#[derive(Debug, Default)]
struct Pending {
    count: usize,
    /// The newest claim of another gate.
    elsewhere: Option<Epoch>,
}

impl Claims {
    fn begin(&mut self, user: UserId) {
        let pending = self.0.entry(user).or_default();
        pending.count = pending.count.saturating_add(1);
    }

    /// Another gate has the user.
    fn elsewhere(&mut self, user: UserId, epoch: Epoch) {
        if let Some(pending) = self.0.get_mut(&user) {
            pending.elsewhere = pending.elsewhere.max(Some(epoch));
        }
    }

    /// A login has its answer: the newest claim that was made elsewhere meanwhile.
    fn end(&mut self, user: UserId) -> Option<Epoch> {
        let pending = self.0.get_mut(&user)?;
        let elsewhere = pending.elsewhere;
        pending.count = pending.count.saturating_sub(1);
        if pending.count == 0 {
            self.0.remove(&user);
        }
        elsewhere
    }
}

impl Hall {
    /// A node binds a user to a connection.
    pub(super) fn bind(self: &Rc<Self>, asker: Asker, conn: ConnId, user: UserId) {
        let this = Rc::clone(self);
        self.env.spawn.local(async move {
            let code = if user.is_valid() { this.log_in(conn, user).await } else { code::INTERNAL };
            this.answer(asker, (code, Reply::Done));
        });
    }

    async fn log_in(self: &Rc<Self>, conn: ConnId, user: UserId) -> u16 {
        if self.live(conn, |_| ()).is_none() {
            return code::NOT_FOUND;
        }
        let refuses = self.plan.duplicate_login == DuplicateLogin::Refuse;
        if refuses && self.index.borrow().of_user(user).is_some_and(|known| known != conn) {
            bump(&self.stats.duplicates);
            return TAKEN;
        }
        let upheavals = self.upheavals.get();
        self.claims.borrow_mut().begin(user);
        let claimed = self.claim(user, refuses).await;
        let elsewhere = self.claims.borrow_mut().end(user);
        let epoch = match claimed {
            Ok(claim) => claim.epoch,
            Err(code) => return code,
        };
        if self.live(conn, |_| ()).is_none() {
            // The place is this gate: if the user still is here, on another connection, it stands.
            if !self.stays(user, epoch) {
                self.release(user, epoch);
            }
            return code::NOT_FOUND;
        }
        if elsewhere.is_some_and(|newer| newer > epoch) {
            return self.overtaken(conn);
        }
        let known = self.index.borrow().of_user(user).filter(|known| *known != conn);
        if let Some(known) = known {
            let newer = self.live(known, |s| s.login.as_ref().is_some_and(|l| l.epoch > epoch));
            if newer == Some(true) {
                return self.overtaken(conn);
            }
            bump(&self.stats.duplicates);
            if self.plan.duplicate_login == DuplicateLogin::Refuse && self.stays(user, epoch) {
                return TAKEN; // two logins at once, and the other was first
            }
            self.index.borrow_mut().clear_user(user, known);
            self.evict(known);
        }
        self.set_login(conn, user, epoch);
        bump(&self.stats.binds);
        self.trigger(Event::Reconnect, conn, Some(user));
        if upheavals != self.upheavals.get() {
            // News of a claim elsewhere may have been lost while this one was made.
            let this = Rc::clone(self);
            self.env.spawn.local(async move {
                let _asked_again_if_news_is_lost = this.check_user(user).await;
            });
        }
        code::OK
    }

    /// While this login was claimed, a later one of the same user has won.
    fn overtaken(self: &Rc<Self>, conn: ConnId) -> u16 {
        bump(&self.stats.duplicates);
        if self.plan.duplicate_login == DuplicateLogin::Kick {
            self.evict(conn);
        }
        TAKEN
    }

    /// A newer claim of this gate went to nobody: whoever has the user here has it by that claim now.
    /// False if nobody has.
    pub(super) fn stays(&self, user: UserId, epoch: Epoch) -> bool {
        let known = self.index.borrow().of_user(user);
        let renew = |session: &mut Session| {
            let login = session.login.as_mut().filter(|login| login.user == user);
            login.map(|login| login.epoch = login.epoch.max(epoch)).is_some()
        };
        known.and_then(|known| self.live(known, renew)).unwrap_or(false)
    }

    /// Makes this gate the user's; if `refuses`, only if no other gate is.
    async fn claim(&self, user: UserId, refuses: bool) -> Result<Claim, u16> {
        let (locator, place) = (Arc::clone(&self.locator), self.me.clone());
        let life = self.incarnation.borrow_mut().current();
        let request = async move {
            match refuses {
                true => locator.claim_if_free(user, &place, Some(life)).await,
                false => locator.claim(user, &place, Some(life)).await.map(Attempt::Claimed),
            }
        };
        match self.backend.run::<Result<Attempt, LocatorError>>(request).await {
            Ok(Ok(Attempt::Claimed(claim))) => Ok(claim),
            Ok(Ok(Attempt::Taken(_))) => {
                bump(&self.stats.duplicates);
                Err(TAKEN)
            }
            Ok(Err(error)) => {
                let (calm, now) = (&self.faults.claim, self.env.clock.now().mono);
                Faults::tell(calm, now, &error, "logins could not be stored");
                Err(code::INTERNAL)
            }
            Err(_) => Err(code::INTERNAL),
        }
    }

    fn set_login(self: &Rc<Self>, conn: ConnId, user: UserId, epoch: Epoch) {
        let now = self.env.clock.now();
        let old = self.driver.with(conn, |machine, _, session| {
            machine.bound(now);
            let same = session.login.take_if(|login| login.user == user);
            let (nodes, sent) = same.map(|login| (login.nodes, login.sent)).unwrap_or_default();
            let login = Box::new(Login { user, epoch, since: now.mono, nodes, sent, moves: 0 });
            session.login.replace(login).map(|old| (old.user, old.epoch))
        });
        let mut index = self.index.borrow_mut();
        if let Some((old, _)) = old.flatten() {
            index.clear_user(old, conn);
        }
        index.set_user(user, conn);
        drop(index);
        if let Some((old, epoch)) = old.flatten() {
            self.release(old, epoch);
        }
    }

    /// The connection has lost its user to another one. Its disconnect carries no user: that one is
    /// still here.
    pub(super) fn evict(self: &Rc<Self>, conn: ConnId) {
        let now = self.env.clock.now();
        let login = self.driver.with(conn, |machine, _, session| {
            machine.unbound(now);
            session.login.take()
        });
        // It may have been somebody else: who lost a second login has lost the first too.
        if let Some(login) = login.flatten()
            && self.index.borrow().of_user(login.user) == Some(conn)
        {
            self.index.borrow_mut().clear_user(login.user, conn);
            self.release(login.user, login.epoch);
        }
        if self.plan.duplicate_login != DuplicateLogin::Displace {
            self.driver.close(conn, CloseReason::Kicked, "logged in elsewhere");
        }
    }

    /// A node takes a user off its connection, which stays open.
    pub(super) fn unbind(self: &Rc<Self>, asker: Asker, user: UserId) {
        let Some(conn) = self.index.borrow().of_user(user) else {
            return self.answer(asker, (code::NOT_FOUND, Reply::Done));
        };
        let now = self.env.clock.now();
        let login = self.driver.with(conn, |machine, _, session| {
            machine.unbound(now);
            session.login.take()
        });
        self.index.borrow_mut().clear_user(user, conn);
        let Some(login) = login.flatten() else {
            return self.answer(asker, (code::NOT_FOUND, Reply::Done));
        };
        let this = Rc::clone(self);
        let (locator, place) = (Arc::clone(&self.locator), self.me.clone());
        self.env.spawn.local(async move {
            let request = async move { locator.release(user, &place, login.epoch).await };
            let code = match this.backend.run(request).await {
                Ok(Ok(_)) => code::OK,
                Ok(Err(_)) | Err(_) => code::INTERNAL,
            };
            this.answer(asker, (code, Reply::Done));
        });
    }

    /// Follows the changes of place.
    pub(super) async fn follow_moves(self: &Rc<Self>, mut moves: Moves) {
        while let Some(moved) = moves.next().await {
            match moved {
                Moved::Claimed { user, place, epoch } => match &place.role {
                    Role::Gate if place != self.me => {
                        self.claims.borrow_mut().elsewhere(user, epoch);
                        self.lost_to(user, epoch);
                    }
                    Role::Gate => {}
                    Role::Node(group) => {
                        self.moved_node(user, group, Bound::To(place.instance.clone()));
                    }
                },
                Moved::Released { user, place, .. } => {
                    if let Role::Node(group) = &place.role {
                        self.moved_node(user, group, Bound::Unknown);
                    }
                }
                Moved::Closed { instance, incarnation } => self.life_ended(&instance, incarnation),
                // A kind of news we do not know is treated as a loss of news.
                Moved::Lost | _ => self.news_lost(),
            }
        }
    }

    /// What is known of a user's node has changed; what was never asked is not remembered.
    fn moved_node(self: &Rc<Self>, user: UserId, group: &Arc<str>, bound: Bound) {
        let Some(conn) = self.index.borrow().of_user(user) else { return };
        let moved = self.driver.with(conn, |_, _, session| {
            let Some(login) = &mut session.login else { return false };
            login.moves = login.moves.wrapping_add(1);
            let mut moved = false;
            for (_, known) in login.nodes.iter_mut().filter(|(name, _)| name == group) {
                moved |= matches!(known, Bound::To(_)) && *known != bound;
                *known = bound.clone();
            }
            moved
        });
        if moved == Some(true) {
            self.wait_for_back(conn);
        }
    }
}
