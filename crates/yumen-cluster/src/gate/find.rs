//! Finding sessions of a gate for an operator: some of them, in a known order, and how many there are.
//!
//! An instance describes at most [`CHUNK`] sessions between two batches, so a gate of 100,000 sessions
//! is looked at without its clients noticing. An instance that does not answer in time is named and
//! left out; nobody waits for it.

use super::{
    hall::Hall,
    handle::{Ask, GateHandle, SessionInfo, describe},
};
use std::{
    pin::{Pin, pin},
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};
use yumen_proto::id::{ConnId, InstanceId, UserId};

/// Most sessions that an instance describes at once.
const CHUNK: usize = 200;

/// Which sessions [`GateHandle::find`] gives.
#[derive(Clone, Debug)]
pub struct SessionQuery {
    /// Only those of this instance. Default: of every instance.
    pub gate: Option<InstanceId>,
    /// Only that of this user.
    pub user: Option<UserId>,
    /// Only those with this connection id, which is unique within an instance.
    pub conn: Option<ConnId>,
    /// Most sessions described. Default: 100.
    pub max: usize,
    /// Longest wait for an answer of the instances. Default: 1 s.
    pub wait_max: Duration,
}

impl Default for SessionQuery {
    fn default() -> Self {
        let wait_max = Duration::from_secs(1);
        Self { gate: None, user: None, conn: None, max: 100, wait_max }
    }
}

/// What [`GateHandle::find`] found.
#[derive(Clone, Debug, Default)]
pub struct SessionPage {
    /// The sessions, at most so many as were asked for: by instance, and there by connection.
    pub sessions: Vec<SessionInfo>,
    /// How many sessions there are in all that match, shown or not.
    pub total: u64,
    /// Instances that did not answer in time: stuck, or ended. Their sessions are missing.
    pub silent: Vec<InstanceId>,
}

/// A part of a query, for one instance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    user: Option<UserId>,
    conn: Option<ConnId>,
    /// Only connections behind this one.
    after: ConnId,
    max: usize,
}

/// One instance's answer.
#[derive(Debug)]
pub(super) struct Found {
    sessions: Vec<SessionInfo>,
    total: u64,
}

impl Part {
    /// Answers on the instance.
    pub(super) fn answer(self, hall: &Hall) -> Found {
        if self.user.is_none() && self.conn.is_none() {
            return self.page(hall);
        }
        let by_user = |user| hall.index.borrow().of_user(user);
        let conn = match (self.user, self.conn) {
            (Some(user), Some(conn)) => by_user(user).filter(|found| *found == conn),
            (Some(user), None) => by_user(user),
            (None, conn) => conn,
        };
        let session = conn.and_then(|conn| describe(hall, conn));
        let total = u64::from(session.is_some());
        let shown = session.filter(|session| self.max > 0 && session.conn > self.after);
        Found { sessions: shown.into_iter().collect(), total }
    }

    /// The next sessions in the order of their ids.
    fn page(self, hall: &Hall) -> Found {
        let total = u64::try_from(hall.driver.len()).unwrap_or(u64::MAX);
        let max = self.max.min(CHUNK);
        if max == 0 {
            return Found { sessions: Vec::new(), total };
        }
        let mut ids = hall.driver.ids();
        ids.retain(|id| *id > self.after);
        if ids.len() > max {
            ids.select_nth_unstable(max);
            ids.truncate(max);
        }
        ids.sort_unstable();
        Found { sessions: ids.into_iter().filter_map(|id| describe(hall, id)).collect(), total }
    }
}

impl GateHandle {
    /// Looks for sessions: at most `query.max`, and how many there are in all. It ends in time whatever
    /// the instances do, and asks each for a few hundred sessions at a time.
    pub async fn find(&self, query: &SessionQuery) -> SessionPage {
        let mut page = SessionPage::default();
        let part = Part { user: query.user, conn: query.conn, after: ConnId(0), max: 0 };
        let mut open = Vec::new();
        for (id, inbox, total) in self.count(query, part).await {
            if let Some(total) = total {
                page.total = page.total.saturating_add(total);
                open.push((id, inbox));
            } else {
                page.silent.push(id.clone());
            }
        }
        let mut late = pin!(tokio::time::sleep(query.wait_max));
        for (id, inbox) in open {
            let mut part = part;
            loop {
                part.max = query.max.saturating_sub(page.sessions.len()).min(CHUNK);
                if part.max == 0 {
                    return page;
                }
                let Some(found) = in_time(ask(inbox, part), late.as_mut()).await else {
                    page.silent.push(id.clone());
                    break;
                };
                let Some(last) = found.sessions.last() else { break };
                part.after = last.conn;
                page.sessions.extend(found.sessions);
            }
        }
        page
    }

    /// How many connections each instance has; `None` where it does not answer in time.
    #[cfg(feature = "admin")]
    pub(crate) async fn connections(&self, wait_max: Duration) -> Vec<(InstanceId, Option<u64>)> {
        let query = SessionQuery { wait_max, ..SessionQuery::default() };
        let part = Part { user: None, conn: None, after: ConnId(0), max: 0 };
        let counted = self.count(&query, part).await;
        counted.into_iter().map(|(id, _, total)| (id.clone(), total)).collect()
    }

    /// How many sessions of each instance match.
    async fn count(
        &self,
        query: &SessionQuery,
        part: Part,
    ) -> Vec<(&InstanceId, &mpsc::Sender<Ask>, Option<u64>)> {
        let wanted = |id: &InstanceId| query.gate.as_ref().is_none_or(|gate| gate == id);
        let instances = self.ids.iter().zip(&self.inboxes).filter(|(id, _)| wanted(id));
        // All are asked before the first is waited for: they count at the same time.
        let asked: Vec<_> = instances.map(|(id, inbox)| (id, inbox, ask(inbox, part))).collect();
        let mut late = pin!(tokio::time::sleep(query.wait_max));
        let mut counted = Vec::new();
        for (id, inbox, answer) in asked {
            let total = in_time(answer, late.as_mut()).await.map(|found| found.total);
            counted.push((id, inbox, total));
        }
        counted
    }
}

/// Asks one instance, unless its inbox is full or it has ended.
fn ask(inbox: &mpsc::Sender<Ask>, part: Part) -> Option<oneshot::Receiver<Found>> {
    let (reply, answer) = oneshot::channel();
    inbox.try_send(Ask::Find { part, reply }).is_ok().then_some(answer)
}

/// The answer, if there is one before it is late.
async fn in_time(
    answer: Option<oneshot::Receiver<Found>>,
    late: Pin<&mut tokio::time::Sleep>,
) -> Option<Found> {
    tokio::select! {
        biased;
        found = answer? => found.ok(),
        () = late => None,
    }
}
