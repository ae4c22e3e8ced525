//! Gates and nodes of separate clusters that share nothing but the stores: all between them goes over TCP,
//! as it does between processes.

use super::{
    game::{self, ECHO, LOGIN},
    rig::{self, Rig, Server, until_nodes},
};
use std::{net::SocketAddr, sync::Arc};
use yumen_cluster::{
    app::{App, AppError},
    cluster::Cluster,
    node::Audience,
};
use yumen_core::{
    BoxFuture,
    cluster::{Instance, Kind, Snapshot},
    locator::{Around, Operation, Request, Wrapped},
    memory::{MemoryLocator, MemoryRegistry},
    registry::{Registry, RegistryError},
    watch::Watch,
};
use yumen_proto::id::InstanceId;

/// The secret of the cluster.
pub(crate) const SECRET: &str = "what every process of the cluster knows";

/// Where two processes find each other.
#[derive(Clone, Default)]
pub(crate) struct Stores {
    pub(crate) registry: Arc<MemoryRegistry>,
    pub(crate) locator: Arc<MemoryLocator>,
}

impl Stores {
    /// The cluster as one more process sees it.
    pub(crate) fn process(&self) -> Cluster {
        Cluster::new(Arc::clone(&self.registry), Arc::clone(&self.locator)).secret(SECRET)
    }
}

#[test]
fn a_gate_and_a_node_of_different_processes_serve_a_client() {
    let stores = Stores::default();
    let (here, there) = (stores.process(), stores.process());
    let node = rig::node(&there, "room", game::routes(), game::World::default);
    let _node = Rig::start(App::default().with(node.link_addr("127.0.0.1:0").build().unwrap()));
    until_nodes(&there, 1);
    let gate = rig::gate(&here).link_addr("127.0.0.1:0").build().unwrap();
    let (addr, handle): (SocketAddr, _) = (gate.addresses()[0], gate.handle());
    let server = Server { addr, gate: handle, rig: Rig::start(App::default().with(gate)) };
    let mut client = server.client();
    assert_eq!(client.call(ECHO, "hello").text(), "hello");
    assert_eq!(client.call(LOGIN, "7").text(), "welcome");
}

#[test]
fn each_process_of_a_fleet_has_a_node_of_its_own_unless_the_id_is_said() {
    let fleet = Stores::default().process();
    let id = |cluster: &Cluster| {
        let node =
            yumen_cluster::node::Node::builder(cluster, "room", |_| ()).link_addr("127.0.0.1:0");
        node.build().unwrap().handles()[0].node_id().to_string()
    };
    assert_eq!(id(&Cluster::in_process()), "room");
    assert!(id(&fleet).starts_with("room-") && id(&fleet) != id(&fleet));
}

/// Never answers that a life has ended.
struct NoEnd;

impl Around for NoEnd {
    fn request<'a, T: Send + 'a>(
        &'a self,
        operation: Operation<'a>,
        request: Request<'a, T>,
    ) -> Request<'a, T> {
        match operation {
            Operation::Close => Box::pin(std::future::pending()),
            Operation::Open
            | Operation::Renew
            | Operation::Claim
            | Operation::Release
            | Operation::Find(_) => request,
        }
    }
}

#[test]
fn a_locator_that_does_not_answer_at_the_end_keeps_no_record_in_the_registry() {
    let registry = Arc::new(MemoryRegistry::default());
    let locator = Wrapped { inner: MemoryLocator::default(), around: NoEnd };
    let cluster = Cluster::new(Arc::clone(&registry), locator);
    let node = rig::node(&cluster, "room", game::routes(), game::World::default);
    let rig = Rig::serving(App::default().with(node.build().unwrap()));
    until_nodes(&cluster, 1);
    rig.stop().unwrap();
    until_nodes(&cluster, 0);
}

/// A registry that has not said who is there, as when two look at the same moment.
struct Blind(Arc<MemoryRegistry>);

impl Registry for Blind {
    fn join<'a>(&'a self, instance: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.0.join(instance)
    }

    fn leave<'a>(
        &'a self,
        id: &'a InstanceId,
        kind: Kind,
    ) -> BoxFuture<'a, Result<(), RegistryError>> {
        self.0.leave(id, kind)
    }

    fn watch(&self, _: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        Box::pin(async { Ok(Watch::fixed([].into())) })
    }
}

/// A registry with room for short names alone.
struct Narrow;

impl Registry for Narrow {
    fn join<'a>(&'a self, _: &'a Instance) -> BoxFuture<'a, Result<(), RegistryError>> {
        let problem = "its alias takes 600 bytes".to_owned();
        Box::pin(async { Err(RegistryError::Unfit { backend: "narrow", problem }) })
    }

    fn leave<'a>(&'a self, _: &'a InstanceId, _: Kind) -> BoxFuture<'a, Result<(), RegistryError>> {
        Box::pin(async { Ok(()) })
    }

    fn watch(&self, _: Kind) -> BoxFuture<'_, Result<Watch<Snapshot>, RegistryError>> {
        Box::pin(async { Ok(Watch::fixed([].into())) })
    }
}

#[test]
fn an_instance_that_the_registry_can_never_hold_ends_the_start_and_says_what_does_not_fit() {
    let stores = Stores::default();
    let cluster = Cluster::new(Narrow, Arc::clone(&stores.locator)).secret(SECRET);
    let node = rig::node(&cluster, "room", game::routes(), game::World::default).id("r");
    let app = App::default().with(node.build().unwrap());
    let error = Rig::serving(app).wait().unwrap_err();
    assert_eq!(
        error.to_string(),
        "node r: registry narrow cannot hold the record: its alias takes 600 bytes"
    );
}

#[test]
fn of_two_processes_that_start_under_one_id_at_once_the_one_whose_record_is_replaced_ends() {
    let stores = Stores::default();
    let node = |cluster: &Cluster| {
        let node = rig::node(cluster, "room", game::routes(), game::World::default).id("r");
        node.build().unwrap()
    };
    let mut first = Rig::serving(App::default().with(node(&stores.process())));
    let blind = Cluster::new(Blind(Arc::clone(&stores.registry)), Arc::clone(&stores.locator));
    let second = node(&blind.secret(SECRET));
    let handle = second.handles()[0].clone();
    let _second = Rig::serving(App::default().with(second));
    let registered = || rig::block_on(stores.registry.watch(Kind::Node)).unwrap().current();
    let record = registered()[0].clone();
    let AppError::IdTaken { id, address, .. } = first.wait().unwrap_err() else {
        panic!("another error");
    };
    assert_eq!(id.as_str(), "r");
    assert!(record.endpoint.contains(&address), "{address} is not that of {record:?}");
    assert_eq!(registered()[..], [record], "the record of the other one stays");
    assert_eq!(rig::block_on(handle.count(Audience::Users)).unwrap(), 0, "and it serves");
}
