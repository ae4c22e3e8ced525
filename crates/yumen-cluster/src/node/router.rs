//! The route table: which handler answers which message, and who may send it.
//!
//! One table serves every instance of a process; each binds it once, on its own thread. A mistake in
//! the table (a number used twice, a time limit of zero) is not fixed silently: it is kept, and
//! `build` of the node refuses to go on and lists all of them.

use crate::node::{
    handler::{EventHandler, Handler, Runner, event_runner, route_runner},
    middleware::{LayeredRunner, Middleware},
    table::{EVENTS, Entry, Label, Table},
    workers::{WorkerHandler, Workers, WorkersRunner},
};
use std::{collections::BTreeMap, fmt, marker::PhantomData, rc::Rc, sync::Arc, time::Duration};
use yumen_core::cluster::{Event, RouteInfo};
use yumen_net::spawn::Spawn;
use yumen_proto::id::RouteId;

/// Who may send a message of a route, and how its handler runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rules {
    /// Refuses connections without a user.
    pub login: bool,
    /// Runs on the node that the user is bound to. Implies `login`.
    pub sticky: bool,
    /// Runs on the node that owns the user. Implies `login`.
    pub sharded: bool,
    /// Refuses clients; only other nodes may send it.
    pub internal: bool,
    /// Neither waits for earlier messages of the connection nor holds back later ones.
    pub concurrent: bool,
    /// Longest time from the start of the handler to its answer. Default: none.
    pub timeout: Option<Duration>,
}

/// Marker: runs on the instance's thread.
#[derive(Debug)]
pub enum OnInstance {}
/// Marker: runs on the worker threads.
#[derive(Debug)]
pub enum OnWorkers {}

/// A handler and its rules, made by [`on`]. `At` says where it runs.
#[must_use = "give it to `Router::route`"]
pub struct Route<H, Args, At = OnInstance> {
    handler: H,
    rules: Rules,
    _args: PhantomData<fn() -> (Args, At)>,
}

impl<H, A, P> fmt::Debug for Route<H, A, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Starts describing a route that `handler` answers.
pub fn on<H, A>(handler: H) -> Route<H, A> {
    Route { handler, rules: Rules::default(), _args: PhantomData }
}

impl<H, A> Route<H, A> {
    /// Runs on the worker threads: for handlers that compute or block for more than a millisecond.
    ///
    /// Its arguments and its future must be `Send`, so it takes no `State` and no `Session`. Order,
    /// bounds and time limit are those of a handler that waits.
    pub fn on_workers(self) -> Route<H, A, OnWorkers> {
        Route { handler: self.handler, rules: self.rules, _args: PhantomData }
    }
}

impl<H, A, P> Route<H, A, P> {
    /// Only logged-in users may send it: refused at the gate, and again here.
    pub fn login(mut self) -> Self {
        self.rules.login = true;
        self
    }

    /// Follows the user to the node that it is bound to. Implies [`Route::login`].
    pub fn sticky(mut self) -> Self {
        self.rules.sticky = true;
        self
    }

    /// Runs on the node that owns the user, of all nodes of this name that serve the route. Every gate
    /// works out by itself which one that is, so nobody is bound and no store is asked. Implies
    /// [`Route::login`]; not together with [`Route::sticky`].
    ///
    /// When one of N nodes comes, goes or hangs, about one user in N changes its owner, at once: for
    /// state that the new owner can load, such as a cache. For as long as gates do not know of the
    /// change, up to a second, the old owner may still get messages.
    pub fn shard_by_user(mut self) -> Self {
        self.rules.sharded = true;
        self.login()
    }

    /// Only other nodes may send it, never a client.
    pub fn internal(mut self) -> Self {
        self.rules.internal = true;
        self
    }

    /// Runs beside other messages of the same connection instead of in their order.
    pub fn concurrent(mut self) -> Self {
        self.rules.concurrent = true;
        self
    }

    /// Answers `DeadlineExceeded` when the handler has not answered `limit` after its start, and
    /// drops its future at the await where it is. Default: no limit; zero is refused by `build`.
    ///
    /// Time spent waiting behind an earlier message of the connection does not count.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.rules.timeout = Some(limit);
        self
    }
}

/// A route that fits a table whose nodes have the state `S`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a route of a node with the state `{S}`",
    note = "describe a route with `on(handler)`; a handler that takes `State<T>` fits only nodes \
            whose state is `T`"
)]
pub trait IntoRoute<S> {
    /// Takes the description apart.
    #[doc(hidden)]
    fn into_route(self) -> Described<S>;
}

impl<S: 'static, A: 'static, H: Handler<A, S>> IntoRoute<S> for Route<H, A, OnInstance> {
    fn into_route(self) -> Described<S> {
        let handler = self.handler;
        Described::new(self.rules, move |_, _| route_runner::<H, A, S>(handler.clone()))
    }
}

impl<S: 'static, A: 'static, H: WorkerHandler<A, S>> IntoRoute<S> for Route<H, A, OnWorkers> {
    fn into_route(self) -> Described<S> {
        let handler = self.handler;
        Described::new(self.rules, move |w, s| WorkersRunner::boxed(handler.clone(), w, s))
    }
}

type Bind<S> = dyn Fn(&Workers, &Spawn) -> Box<dyn Runner<S>> + Send + Sync;

/// One route of a table, before an instance binds it.
#[doc(hidden)]
pub struct Described<S> {
    rules: Rules,
    bind: Arc<Bind<S>>,
    layers: Vec<Arc<dyn Middleware<S>>>,
}

impl<S> Clone for Described<S> {
    fn clone(&self) -> Self {
        Self { rules: self.rules, bind: Arc::clone(&self.bind), layers: self.layers.clone() }
    }
}

impl<S: 'static> Described<S> {
    fn new<F>(rules: Rules, bind: F) -> Self
    where
        F: Fn(&Workers, &Spawn) -> Box<dyn Runner<S>> + Send + Sync + 'static,
    {
        Self { rules, bind: Arc::new(bind), layers: Vec::new() }
    }

    fn bind(&self, label: Label, layers: &[Arc<dyn Middleware<S>>], at: &Bench<'_>) -> Entry<S> {
        let mut runner = (self.bind)(at.workers, at.spawn);
        let layers: Rc<[_]> = layers.iter().chain(&self.layers).map(Arc::clone).collect();
        if !layers.is_empty() {
            runner = Box::new(LayeredRunner { layers, runner: runner.into() });
        }
        Entry::new(label, self.rules, runner)
    }
}

/// What an instance binds a table with.
pub(crate) struct Bench<'a> {
    pub(crate) workers: &'a Workers,
    pub(crate) spawn: &'a Spawn,
}

/// The routes and events of a node. Cheap to clone.
///
/// ```
/// use yumen_cluster::node::{Msg, Router, State, on};
/// use std::cell::Cell;
///
/// #[derive(Default)]
/// struct Lobby {
///     greeted: Cell<u32>,
/// }
///
/// async fn greet(State(lobby): State<Lobby>, Msg(name): Msg<String>) -> Msg<String> {
///     lobby.greeted.set(lobby.greeted.get() + 1);
///     Msg(format!("hello {name}"))
/// }
///
/// let router: Router<Lobby> = Router::new().route(1, on(greet).login());
/// assert_eq!(router.routes().count(), 1);
/// ```
pub struct Router<S> {
    // Ordered, because it is iterated: a run must repeat.
    routes: BTreeMap<RouteId, Described<S>>,
    events: BTreeMap<Event, Described<S>>,
    fallback: Option<Described<S>>,
    layers: Vec<Arc<dyn Middleware<S>>>,
    problems: Vec<String>,
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Self {
            routes: self.routes.clone(),
            events: self.events.clone(),
            fallback: self.fallback.clone(),
            layers: self.layers.clone(),
            problems: self.problems.clone(),
        }
    }
}

impl<S> Default for Router<S> {
    fn default() -> Self {
        Self {
            routes: BTreeMap::new(),
            events: BTreeMap::new(),
            fallback: None,
            layers: Vec::new(),
            problems: Vec::new(),
        }
    }
}

impl<S> fmt::Debug for Router<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("routes", &self.routes.keys())
            .field("problems", &self.problems)
            .finish_non_exhaustive()
    }
}

impl<S: 'static> Router<S> {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers messages of route `id`. A number that is already taken is refused by `build`.
    #[must_use]
    pub fn route(mut self, id: impl Into<RouteId>, route: impl IntoRoute<S>) -> Self {
        let id = id.into();
        self.insert(id, route.into_route());
        self
    }

    /// Adds the routes and events of a table of its own, whose middleware applies to them only.
    ///
    /// Middleware of the outer table comes before that of the group.
    ///
    /// ```
    /// # use yumen_cluster::node::{Next, Request, Response, Router, on};
    /// # async fn ban() {}
    /// # async fn ping() {}
    /// # async fn admins_only(request: Request<()>, next: Next<()>) -> Response {
    /// #     next.run(request).await
    /// # }
    /// let router: Router<()> = Router::new()
    ///     .route(1, on(ping))
    ///     .group(|admin| admin.layer(admins_only).route(100, on(ban).login()));
    /// ```
    #[must_use]
    pub fn group(mut self, describe: impl FnOnce(Self) -> Self) -> Self {
        let group = describe(Self::new());
        let layered = |mut one: Described<S>| {
            one.layers = group.layers.iter().chain(&one.layers).map(Arc::clone).collect();
            one
        };
        self.problems.extend(group.problems);
        for (id, route) in group.routes {
            self.insert(id, layered(route));
        }
        for (event, handler) in group.events {
            self.insert_event(event, handler);
        }
        if let Some(fallback) = group.fallback {
            self.insert_fallback(layered(fallback));
        }
        self
    }

    /// Puts `middleware` around every route of this table, those of groups and the default handler
    /// included, wherever in the table it is added. The first one added is the outermost.
    /// Events have none.
    #[must_use]
    pub fn layer(mut self, middleware: impl Middleware<S>) -> Self {
        self.layers.push(Arc::new(middleware));
        self
    }

    /// Answers messages of every route that has no handler of its own. It is not advertised, so only
    /// messages that name this node can reach it.
    #[must_use]
    pub fn fallback<A: 'static>(mut self, handler: impl Handler<A, S>) -> Self {
        self.insert_fallback(on(handler).into_route());
        self
    }

    /// Runs `handler` for an event of a connection, in order with the messages of that connection.
    /// One handler per event; a second one is refused by `build`.
    ///
    /// After [`Event::Disconnect`], messages that were still held are dropped and counted; a handler
    /// that is running runs on, and this one runs after it. Gates report an event only to nodes
    /// that have a handler for it.
    #[must_use]
    pub fn event<A: 'static>(mut self, event: Event, handler: impl EventHandler<A, S>) -> Self {
        let bind = move |_: &Workers, _: &Spawn| event_runner::<_, A, S>(handler.clone());
        self.insert_event(event, Described::new(Rules::default(), bind));
        self
    }

    /// The routes as gates see them, in the order of their numbers; the fallback is not one.
    pub fn routes(&self) -> impl Iterator<Item = RouteInfo> + '_ {
        self.routes.iter().map(|(id, route)| RouteInfo {
            id: *id,
            internal: route.rules.internal,
            stateful: route.rules.sticky,
            authorized: route.rules.login,
        })
    }

    /// The routes that run where the user is owned.
    pub(crate) fn sharded(&self) -> impl Iterator<Item = RouteId> + '_ {
        self.routes.iter().filter(|(_, route)| route.rules.sharded).map(|(id, _)| *id)
    }

    /// The events that have a handler.
    pub fn events(&self) -> impl Iterator<Item = Event> + '_ {
        EVENTS.into_iter().filter(|event| self.events.contains_key(event))
    }

    /// What is wrong with the table; empty if nothing is.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// The table as one instance uses it.
    pub(crate) fn bind(&self, workers: &Workers, spawn: &Spawn) -> Table<S> {
        let at = Bench { workers, spawn };
        let bind = |label, route: &Described<S>| route.bind(label, &self.layers, &at);
        let event = |event: Event| {
            let handler = self.events.get(&event)?;
            Some(handler.bind(Label::Event(event), &[], &at))
        };
        Table {
            routes: self.routes.iter().map(|(id, r)| (*id, bind(Label::Route(*id), r))).collect(),
            fallback: self.fallback.as_ref().map(|route| bind(Label::Fallback, route)),
            events: EVENTS.map(event),
        }
    }

    fn insert(&mut self, id: RouteId, route: Described<S>) {
        if route.rules.timeout == Some(Duration::ZERO) {
            self.problems.push(format!("route {id}: timeout is zero"));
        }
        if route.rules.sharded && route.rules.sticky {
            self.problems.push(format!(
                "route {id} is both sticky and sharded: its users are either bound or owned"
            ));
        }
        if self.routes.insert(id, route).is_some() {
            self.problems.push(format!("route {id} has two handlers"));
        }
    }

    fn insert_event(&mut self, event: Event, handler: Described<S>) {
        if self.events.insert(event, handler).is_some() {
            self.problems.push(format!("event {event:?} has two handlers"));
        }
    }

    fn insert_fallback(&mut self, handler: Described<S>) {
        if self.fallback.replace(handler).is_some() {
            self.problems.push("there are two fallback handlers".to_owned());
        }
    }
}
