//! Many small futures at once, on one thread, in their order.
//!
//! For requests whose answers are waited for together; nothing is spawned, so dropping the whole drops
//! every part.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    task::Poll,
};

/// The results of all futures, which run side by side, in their order.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut left = false;
        for (future, slot) in running.iter_mut().zip(&mut done) {
            if slot.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(output) => *slot = Some(output),
                    Poll::Pending => left = true,
                }
            }
        }
        if left { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Those for which `ask` gives false, of which at most `at_once` are asked at a time.
pub(crate) async fn failed<T: Copy, F: Future<Output = bool>>(
    items: &[T],
    at_once: usize,
    ask: impl Fn(T) -> F,
) -> Vec<T> {
    let mut failed = Vec::new();
    for part in items.chunks(at_once) {
        let answers = all(part.iter().map(|item| ask(*item))).await;
        failed.extend(part.iter().zip(answers).filter(|(_, fine)| !fine).map(|(item, _)| *item));
    }
    failed
}
