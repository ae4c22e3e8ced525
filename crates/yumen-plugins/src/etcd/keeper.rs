//! Keeps one instance of this process registered: a lease, the record on it, and both checked for ever.
//!
//! Never gives up and never writes over a record that another process put there meanwhile. The one thing to
//! know: every check and every change is the same step (have a lease, look at the key, put what is missing),
//! so a lease that ran out, a record that somebody deleted and a server that lost its memory heal alike.

use super::{
    client::{CallError, Client, Needs},
    messages::{
        Compare, Done, KeyValue, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveResponse,
        LeaseRequest, Op, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest,
        TxnResponse, Wanted,
    },
};
use crate::orders::{Keeper, Order, Told};
use std::{sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    time::{sleep, timeout},
};
use tonic::Code;
use yumen_core::{cluster::Instance, watch::Watch};

/// A lease is renewed, and the record checked, after this part of its time.
const CHECK_PART: f64 = 1.0 / 3.0;

/// Why a record is not there as it should be.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeepError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the record cannot be written: {0}")]
    Unwritable(#[from] serde_json::Error),
    #[error("{key} was changed by another process at the same moment")]
    Raced { key: String },
    #[error(
        "{key} is registered by another process, at {endpoint}: stop one of the two, or give it an id of its own"
    )]
    Taken { key: String, endpoint: String },
}

/// Starts on `runtime`, with nothing to do yet.
pub(super) fn start(runtime: &Handle, client: Arc<Client>, key: String, ttl: Duration) -> Keeper {
    Keeper::start(runtime, "etcd", key.clone(), move |orders, told| {
        Work { client, key, ttl, told, lease: None, claimed: false }.run(orders)
    })
}

/// The task.
struct Work {
    client: Arc<Client>,
    key: String,
    ttl: Duration,
    told: Told,
    /// Its id and its time to live.
    lease: Option<(i64, Duration)>,
    /// Whether the record was ours once. The first put replaces whatever a killed predecessor left; a
    /// later one does not.
    claimed: bool,
}

impl Work {
    async fn run(mut self, mut orders: Watch<Order>) {
        loop {
            let order = orders.current();
            let Some(record) = &order.record else {
                if order.number > 0 {
                    self.withdraw(order.number).await;
                    return;
                }
                if !orders.changed().await {
                    return;
                }
                continue;
            };
            let pause = match self.step(record).await {
                Ok(()) => {
                    self.told.done(order.number);
                    self.lease.map_or(self.ttl, |(_, ttl)| ttl).mul_f64(CHECK_PART)
                }
                Err(error) => self.told.failed(error),
            };
            tokio::select! {
                changed = orders.changed() => if !changed { return },
                () = sleep(pause) => {}
            }
        }
    }

    /// Makes it so: a living lease, and the record on it.
    async fn step(&mut self, record: &Instance) -> Result<(), KeepError> {
        let lease = self.living_lease().await?;
        let value = serde_json::to_vec(record)?;
        let revision = match self.there().await? {
            None => 0,
            Some(there) if there.lease == lease && there.value == value => return Ok(()),
            Some(there) if self.may_replace(&there, lease, record) => there.mod_revision,
            Some(there) => {
                let endpoint = endpoint(&there);
                return Err(KeepError::Taken { key: self.key.clone(), endpoint });
            }
        };
        self.put_if(revision, value, lease).await?;
        self.claimed = true;
        Ok(())
    }

    /// A record without a lease is nobody's: no process keeps it alive.
    fn may_replace(&self, there: &KeyValue, lease: i64, record: &Instance) -> bool {
        let nobodys = there.lease == 0;
        !self.claimed || nobodys || there.lease == lease || endpoint(there) == record.endpoint
    }

    /// The lease, kept alive, or a new one if it is gone.
    async fn living_lease(&mut self) -> Result<i64, KeepError> {
        if let Some((id, _)) = self.lease {
            let path = "/etcdserverpb.Lease/LeaseKeepAlive";
            // A stream for one question: it cannot die unnoticed between two.
            let answer: LeaseKeepAliveResponse =
                self.client.call(path, LeaseRequest { id }, Needs::Leader).await?;
            if answer.ttl > 0 {
                return Ok(id);
            }
            tracing::warn!(key = %self.key, "the lease in etcd has run out, registering again");
            self.lease = None;
        }
        let ttl = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX);
        let path = "/etcdserverpb.Lease/LeaseGrant";
        let granted: LeaseGrantResponse =
            self.client.call(path, LeaseGrantRequest { ttl }, Needs::Leader).await?;
        let seconds = u64::try_from(granted.ttl).unwrap_or(0).max(1);
        self.lease = Some((granted.id, Duration::from_secs(seconds)));
        Ok(granted.id)
    }

    async fn there(&self) -> Result<Option<KeyValue>, KeepError> {
        let request =
            RangeRequest { key: self.key.clone().into_bytes(), ..RangeRequest::default() };
        let path = "/etcdserverpb.KV/Range";
        let answer: RangeResponse = self.client.call(path, request, Needs::Leader).await?;
        Ok(answer.kvs.into_iter().next())
    }

    /// Puts the record unless the key was changed since `revision`; 0 = unless it exists.
    async fn put_if(&self, revision: i64, value: Vec<u8>, lease: i64) -> Result<(), KeepError> {
        let key = self.key.clone().into_bytes();
        let wanted = Some(Wanted::ModRevision(revision));
        let put = PutRequest { key: key.clone(), value, lease };
        let txn = TxnRequest {
            compare: vec![Compare { target: 2, key, wanted }],
            success: vec![RequestOp { op: Some(Op::Put(put)) }],
        };
        let answer: TxnResponse =
            self.client.call("/etcdserverpb.KV/Txn", txn, Needs::Leader).await?;
        match answer.succeeded {
            true => Ok(()),
            false => Err(KeepError::Raced { key: self.key.clone() }),
        }
    }

    /// Gives the lease back, which deletes the record if it is still on it. Tries until the lease has run
    /// out by itself.
    async fn withdraw(mut self, number: u64) {
        let Some((id, ttl)) = self.lease else { return self.told.given_up(number) };
        let revoked = async {
            loop {
                let path = "/etcdserverpb.Lease/LeaseRevoke";
                let answer: Result<Done, _> =
                    self.client.call(path, LeaseRequest { id }, Needs::Leader).await;
                let error = match answer {
                    Ok(Done {}) => break,
                    Err(CallError::Refused { status, .. }) if status.code() == Code::NotFound => {
                        break;
                    }
                    Err(error) => KeepError::Call(error),
                };
                let pause = self.told.failed(error);
                sleep(pause).await;
            }
        };
        if timeout(ttl, revoked).await.is_err() {
            tracing::warn!(key = %self.key, "the record was left to run out in etcd");
        }
        self.told.given_up(number);
    }
}

/// Where a record says that its instance listens; empty if it says nothing that can be read.
fn endpoint(there: &KeyValue) -> String {
    serde_json::from_slice(&there.value).map(|there: Instance| there.endpoint).unwrap_or_default()
}
