//! Signals: the first asks for a stop, the second ends the process at once.
//!
//! They are handled on a thread of their own, so that neither a program that is still starting nor one
//! whose threads are all stuck can keep the second one waiting.

use std::{
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::watch;

/// A signal that asks for a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Interrupt,
    Quit,
    Terminate,
}

impl Signal {
    /// What a shell shows for a process that this signal has ended.
    fn exit_code(self) -> i32 {
        match self {
            Self::Interrupt => 130,
            Self::Quit => 131,
            Self::Terminate => 143,
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Terminate => "SIGTERM",
        })
    }
}

type AtExit = Arc<Mutex<Vec<Box<dyn FnOnce() + Send>>>>;

/// Handles the signals of the process for as long as it lives.
pub(super) struct Signals {
    first: watch::Receiver<Option<Signal>>,
    at_exit: AtExit,
    /// Its end ends the thread.
    _alive: watch::Sender<()>,
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

impl Signals {
    /// From here on a signal does not end the process by itself.
    ///
    /// # Errors
    /// The system refused a handler or a thread.
    pub(super) fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut source = {
            let _inside = runtime.enter();
            Source::new()?
        };
        let (heard, first) = watch::channel(None);
        let (alive, mut over) = watch::channel(());
        let at_exit = AtExit::default();
        let tidy_up = Arc::clone(&at_exit);
        let listen = async move {
            let signal = source.next().await;
            tracing::info!("{signal}: stopping; a second signal ends the process at once");
            heard.send_replace(Some(signal));
            let signal = source.next().await;
            tracing::warn!("{signal} again: ending at once, with whatever is left undone");
            for clean in tidy_up.lock().unwrap_or_else(PoisonError::into_inner).drain(..).rev() {
                clean();
            }
            std::process::exit(signal.exit_code());
        };
        let run = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = listen => {}
                    _ = over.changed() => {}
                }
            });
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(run)?;
        Ok(Self { first, at_exit, _alive: alive })
    }

    /// Resolves at the first signal.
    pub(super) async fn told(&self) {
        let mut first = self.first.clone();
        if first.wait_for(Option::is_some).await.is_err() {
            // The thread ends only with `self`, so nobody is left to be told.
            std::future::pending::<()>().await;
        }
    }

    /// Runs `clean` before the second signal ends the process, the latest first. It must not take long.
    pub(super) fn at_exit(&self, clean: impl FnOnce() + Send + 'static) {
        let mut at_exit = self.at_exit.lock().unwrap_or_else(PoisonError::into_inner);
        at_exit.push(Box::new(clean));
    }
}

#[cfg(unix)]
struct Source {
    interrupt: tokio::signal::unix::Signal,
    quit: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Source {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Signal::Interrupt,
            Some(()) = self.quit.recv() => Signal::Quit,
            Some(()) = self.terminate.recv() => Signal::Terminate,
            else => std::future::pending().await,
        }
    }
}

#[cfg(not(unix))]
struct Source;

#[cfg(not(unix))]
impl Source {
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        Signal::Interrupt
    }
}
