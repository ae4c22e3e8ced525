//! Tests of `yumen-core` through its public API, in one binary so that they link once.
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::panic,
        clippy::unwrap_used,
        clippy::wildcard_enum_match_arm,
        reason = "a test may stop at a wrong number"
    )
)]

#[cfg(feature = "json")]
mod cluster;
#[cfg(any(feature = "json", feature = "msgpack"))]
mod codec;
#[cfg(feature = "json")]
mod json_form;
mod locator;
mod locator_model;
#[cfg(feature = "protobuf")]
mod protobuf;
#[cfg(feature = "conformance")]
mod registry;

/// Ends a test that waits for something that never comes.
#[cfg(feature = "conformance")]
async fn within_seconds(test: impl Future<Output = ()>) {
    tokio::time::timeout(std::time::Duration::from_secs(20), test).await.unwrap();
}
