//! The one list of all metrics: name, type, labels, what it says.
//!
//! A metric that is not here does not exist. Names follow Prometheus: units are seconds and bytes,
//! counters end in `_total`. A name that was released is kept for ever, since dashboards and alerts
//! refer to it: a test compares the list with `tests/metrics.txt`.

/// What kind of number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows, until the process ends.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something took how long.
    Histogram,
}

impl Type {
    /// As Prometheus has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Whose number it is, and so which of the labels `service` and `instance` it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Of the whole process: neither.
    Process,
    /// Of a component: `service`.
    Service,
    /// Of one instance: both.
    Instance,
}

impl Scope {
    /// The labels that say whose it is.
    pub const fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Process => &[],
            Self::Service => &["service"],
            Self::Instance => &["service", "instance"],
        }
    }
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Type,
    /// Whose number it is.
    pub scope: Scope,
    /// Its labels, behind those of the scope.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence or two.
    pub help: &'static str,
}

macro_rules! families {
    ($($scope:ident { $(
        $(#[doc = $doc:literal])*
        $name:ident = $text:literal $kind:ident [$($label:literal),*];
    )* })*) => {
        $($(
            $(#[doc = $doc])*
            pub(crate) const $name: Family = Family {
                name: $text,
                kind: Type::$kind,
                scope: Scope::$scope,
                labels: &[$($label),*],
                help: concat!($($doc),*).trim_ascii(),
            };
        )*)*

        /// Every metric, in the order of the page about them.
        pub const ALL: &[Family] = &[$($($name,)*)*];
    };
}

families! {
    Instance {
        /// Connections now, by state: `opening` has not finished its WebSocket handshake, `pending` has
        /// been silent for a heartbeat interval, `closing` only has its last bytes written.
        GATE_CONNECTIONS = "yumen_gate_connections" Gauge ["listener", "transport", "state"];
        /// Connections that a listener has let in.
        GATE_ACCEPTED = "yumen_gate_accepted_total" Counter ["listener", "transport"];
        /// Connections that have ended, by reason.
        GATE_CLOSED = "yumen_gate_closed_total" Counter ["reason"];
        /// Users logged in now.
        GATE_USERS = "yumen_gate_users" Gauge [];
        /// Logins.
        GATE_LOGINS = "yumen_gate_logins_total" Counter [];
        /// Logins of users who were logged in already, and were dealt with by the gate's policy.
        GATE_DUPLICATES = "yumen_gate_duplicate_logins_total" Counter [];
        /// Messages from clients (`in`) and queued for clients (`out`), by route. Routes that no node
        /// has registered are `other`, as is what nodes push on routes that are not theirs.
        GATE_MESSAGES = "yumen_gate_messages_total" Counter ["direction", "route"];
        /// The bytes of these messages, as whole packets.
        GATE_MESSAGE_BYTES = "yumen_gate_message_bytes_total" Counter ["direction", "route"];
        /// Messages of clients that went no further, by reason.
        GATE_DROPPED = "yumen_gate_dropped_total" Counter ["reason"];
        /// Packets of clients that were not understood, and skipped.
        GATE_SKIPPED = "yumen_gate_packets_skipped_total" Counter [];
        /// Packets of clients that seem to be of another layout or another protocol than the gate's.
        GATE_WRONG_LAYOUT = "yumen_gate_packets_wrong_layout_total" Counter [];
        /// Messages that were let through and that a node then refused.
        GATE_REFUSED_BY_NODES = "yumen_gate_refused_by_nodes_total" Counter [];
        /// Refusals that clients were told, or could not be told because they do not know how.
        GATE_STATUSES = "yumen_gate_status_replies_total" Counter ["outcome"];
        /// Packets of nodes for connections or users that are not here, one for each of them.
        GATE_UNDELIVERABLE = "yumen_gate_undeliverable_total" Counter [];
        /// Commands of nodes that a gate does not serve.
        GATE_UNSERVED = "yumen_gate_unserved_total" Counter [];
        /// Events of connections that no node was told: `lost` for want of room, `unwanted` by all.
        GATE_EVENTS_UNTOLD = "yumen_gate_events_untold_total" Counter ["reason"];
        /// Messages sent to another node, because they came back from one that did not have the user, or
        /// never reached one that is gone.
        GATE_SENT_AGAIN = "yumen_gate_sent_again_total" Counter [];
        /// Sessions that are not read now, because of what they have in flight or of a full lane.
        GATE_WAITING = "yumen_gate_sessions_waiting" Gauge [];
        /// Times that a session was not read for that.
        GATE_HELD = "yumen_gate_sessions_held_total" Counter [];
        /// Bytes that sockets of clients gave and took.
        GATE_SOCKET_BYTES = "yumen_gate_socket_bytes_total" Counter ["direction"];
        /// Calls to the system for that.
        GATE_SOCKET_CALLS = "yumen_gate_socket_calls_total" Counter ["direction"];
        /// Times that a client's socket was full.
        GATE_SOCKET_FULL = "yumen_gate_socket_full_total" Counter [];
        /// Times that the instance's thread had not run for long, and deadlines of clients were moved.
        GATE_PAUSES = "yumen_gate_pauses_total" Counter [];
        /// How long the look at all connections took that is made every second.
        GATE_SWEEP = "yumen_gate_sweep_seconds" Histogram [];
    }
    Service {
        /// Connections closed as soon as they were accepted: beyond the limit of the `listener`, or of
        /// one `address`, or of a load balancer without a PROXY `header`.
        GATE_REFUSED = "yumen_gate_refused_total" Counter ["listener", "reason"];
        /// Errors of accepting connections: out of descriptors, mostly.
        GATE_ACCEPT_ERRORS = "yumen_gate_accept_errors_total" Counter ["listener"];
    }
    Instance {
        /// Messages that arrived, by route. `other` is what has no route of its own here; `connect`,
        /// `reconnect` and `disconnect` are not counted, see `yumen_node_events_total`.
        NODE_MESSAGES = "yumen_node_messages_total" Counter ["route"];
        /// The bytes of these messages, as whole packets.
        NODE_MESSAGE_BYTES = "yumen_node_message_bytes_total" Counter ["route"];
        /// Time from the begin of a handler to its answer, by route; what was held behind an earlier
        /// message begins after that. Events have their names instead of a route.
        NODE_HANDLER = "yumen_node_handler_seconds" Histogram ["route"];
        /// How long single polls of handlers took, during which nothing else ran on the instance.
        NODE_POLL = "yumen_node_poll_seconds" Histogram [];
        /// Polls that took longer than `yumen.node.slowMin`, by route.
        NODE_SLOW = "yumen_node_slow_polls_total" Counter ["route"];
        /// Handlers that wait for something now.
        NODE_WAITING = "yumen_node_handlers_waiting" Gauge [];
        /// Most handlers that may wait.
        NODE_WAITING_MAX = "yumen_node_handlers_waiting_limit" Gauge [];
        /// Handlers that did not finish at their first poll.
        NODE_WAITED = "yumen_node_handlers_waited_total" Counter [];
        /// Messages that reached no handler, by reason.
        NODE_DROPPED = "yumen_node_dropped_total" Counter ["reason"];
        /// Messages that an extractor, middleware or the handler refused.
        NODE_REFUSED = "yumen_node_refused_total" Counter [];
        /// Handlers that took longer than their route's limit.
        NODE_TIMEOUTS = "yumen_node_timeouts_total" Counter [];
        /// Panics in code of the game.
        NODE_PANICS = "yumen_node_panics_total" Counter [];
        /// Replies sent.
        NODE_REPLIES = "yumen_node_replies_total" Counter [];
        /// Replies and statuses that had nobody left to go to.
        NODE_ANSWERS_LOST = "yumen_node_answers_lost_total" Counter [];
        /// Replies that had to wait for room on their lane.
        NODE_ANSWERS_DELAYED = "yumen_node_answers_delayed_total" Counter [];
        /// Events of connections that arrived.
        NODE_EVENTS = "yumen_node_events_total" Counter [];
        /// Reconnect events that were dropped because too many were held for one connection.
        NODE_EVENTS_DROPPED = "yumen_node_events_dropped_total" Counter [];
        /// Event handlers that returned an error.
        NODE_EVENTS_FAILED = "yumen_node_events_failed_total" Counter [];
        /// Commands of peers that a node does not serve.
        NODE_UNSERVED = "yumen_node_unserved_total" Counter [];
        /// Users who were bound to the node, and were found to be bound elsewhere or nowhere.
        NODE_USERS_LOST = "yumen_node_users_lost_total" Counter [];
        /// Messages of users that another node owns, given to it.
        NODE_HANDED_ON = "yumen_node_handed_on_total" Counter [];
        /// Requests of other threads that found the inbox full.
        NODE_INBOX_FULL = "yumen_node_inbox_full_total" Counter [];
        /// Bytes that wait: `backlog` for clients to read, `in_flight` given to nodes and not finished,
        /// `lanes` on their way to other instances, `held` behind handlers that wait, `inbox` from other
        /// threads.
        QUEUE = "yumen_queue_bytes" Gauge ["queue"];
        /// The bytes of the one connection, or lane, that has most in that queue.
        QUEUE_LARGEST = "yumen_queue_largest_bytes" Gauge ["queue"];
        /// Most bytes that one connection, or lane, may have in that queue.
        QUEUE_LIMIT = "yumen_queue_limit_bytes" Gauge ["queue"];
        /// Other instances that this one is linked to.
        LINKS = "yumen_links" Gauge [];
        /// Calls to other instances that wait for an answer.
        LINK_CALLS = "yumen_link_calls_waiting" Gauge [];
        /// Answers of other instances that came too late.
        LINK_LATE = "yumen_link_late_answers_total" Counter [];
        /// Frames of other instances that did not parse.
        LINK_MALFORMED = "yumen_link_malformed_frames_total" Counter [];
        /// Instances of other processes that this one is linked to, idle ones included.
        LINK_FAR = "yumen_link_peers_outside" Gauge [];
        /// Connections to other processes, those that have not introduced themselves included.
        LINK_CONNS = "yumen_link_connections" Gauge [];
        /// Links to other processes that were opened, by either side.
        LINK_OPENED = "yumen_link_opened_total" Counter [];
        /// Open links to other processes that broke.
        LINK_BROKEN = "yumen_link_broken_total" Counter [];
        /// Attempts to connect to an instance of another process.
        LINK_DIALS = "yumen_link_dials_total" Counter [];
        /// Those that failed, by reason.
        LINK_DIALS_FAILED = "yumen_link_dials_failed_total" Counter ["reason"];
        /// Links that were wanted and not dialled, because the last attempt failed a moment ago.
        LINK_HELD_BACK = "yumen_link_dials_held_back_total" Counter [];
        /// Instances of other processes that were refused or cut off, by reason.
        LINK_REFUSED = "yumen_link_refused_total" Counter ["reason"];
        /// Times that a lane had to wait until the other side was done with what it had.
        LINK_CREDIT_WAITS = "yumen_link_credit_waits_total" Counter [];
        /// Frames that were queued for an instance and could never be sent.
        LINK_UNSENT = "yumen_link_unsent_frames_total" Counter [];
        /// Answers that an instance of due's did not get: it was too late for them, or it was gone.
        LINK_ANSWERED_LATE = "yumen_link_answered_late_total" Counter [];
        /// Frames that were queued for instances of other processes. A message to many clients of one gate
        /// is one.
        LINK_FRAMES = "yumen_link_frames_sent_total" Counter [];
        /// Bytes sent to other processes and received from them.
        LINK_BYTES = "yumen_link_socket_bytes_total" Counter ["direction"];
        /// 1 if the instance did not answer the question for its numbers in time, and so shows none.
        STALE = "yumen_instance_stale" Gauge ["kind"];
        /// How late a timer of 100 ms fired on the instance's thread; up to 2 ms is the timer itself.
        STALL = "yumen_loop_stall_seconds" Histogram [];
        /// The latest of them since the start.
        STALL_MAX = "yumen_loop_stall_max_seconds" Gauge [];
        /// How long ago that timer last fired; more than 0.1 is how long the thread has been stuck.
        SILENCE = "yumen_loop_silence_seconds" Gauge [];
    }
    Process {
        /// 1 for how far the app is, 0 for the others.
        PHASE = "yumen_app_phase" Gauge ["phase"];
        /// Requests to the registry and the locator, by what became of them.
        STORE_REQUESTS = "yumen_store_requests_total" Counter ["store", "operation", "outcome"];
        /// Connections of the locator to its server that serve now; none in memory.
        STORE_CONNECTIONS = "yumen_store_connections" Gauge ["store"];
        /// Connections of the locator that were made in place of one that broke.
        STORE_RECONNECTS = "yumen_store_reconnects_total" Counter ["store"];
        /// Commands of the locator under way at its server (`in_flight`), and those that wait for their
        /// turn (`waiting`).
        STORE_COMMANDS = "yumen_store_commands" Gauge ["store", "state"];
        /// Most commands of either sort.
        STORE_COMMANDS_LIMIT = "yumen_store_commands_limit" Gauge ["store", "state"];
        /// Requests to plug-ins under way (`in_flight`), and those that wait for their turn.
        BACKEND = "yumen_backend_requests" Gauge ["state"];
        /// Most requests of either sort.
        BACKEND_LIMIT = "yumen_backend_requests_limit" Gauge ["state"];
        /// Lines of the log: `written`, `dropped` because its queue was full, or `lost` because a file or
        /// the console did not take them.
        LOG_LINES = "yumen_log_lines_total" Counter ["outcome"];
        /// Bytes of lines that wait to be written.
        LOG_QUEUE = "yumen_log_queue_bytes" Gauge [];
        /// Most bytes that may wait.
        LOG_QUEUE_LIMIT = "yumen_log_queue_limit_bytes" Gauge [];
        /// Changes of the settings' files: `applied`, or `failed` because a file was wrong.
        RELOADS = "yumen_settings_reloads_total" Counter ["outcome"];
        /// Requests to the admin that were refused before they were looked at: for want of a right
        /// `token`, for their `host`, as a web page's (`origin`), or because there were as many
        /// `connections` as may be.
        ADMIN_REFUSED = "yumen_admin_refused_total" Counter ["reason"];
        /// Descriptors that are open.
        OPEN_FDS = "yumen_process_open_fds" Gauge [];
        /// Most descriptors that may be open.
        MAX_FDS = "yumen_process_max_fds" Gauge [];
        /// Memory in use, as the system sees it.
        RESIDENT = "yumen_process_resident_memory_bytes" Gauge [];
        /// Time that processors have spent on the process.
        CPU = "yumen_process_cpu_seconds_total" Counter [];
        /// When the process was started, in seconds since 1970.
        START_TIME = "yumen_process_start_time_seconds" Gauge [];
        /// Always 1; says which version runs.
        BUILD = "yumen_build_info" Gauge ["version"];
    }
}
