//! Reading a request's body: whole, and no more than a log level can be.

use super::answer::Problem;
use axum::{
    body::{Body, Bytes, HttpBody},
    http::StatusCode,
};
use std::{future::poll_fn, pin::Pin};

/// Most bytes of a body.
const BODY_MAX: usize = 64 * 1024;
/// Most bytes that are read of a body that is too long, so that the refusal arrives.
const WASTE_MAX: usize = 1024 * 1024;

/// The whole body of a request, if it is short enough.
pub(super) async fn whole(body: Body) -> Result<Vec<u8>, Problem> {
    let (mut body, mut bytes, mut read) = (body, Vec::new(), 0_usize);
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let broken = |_| Problem::bad("the body ended early", "send it again");
        let data = frame.map_err(broken)?.into_data().unwrap_or_else(|_| Bytes::new());
        read = read.saturating_add(data.len());
        if read <= BODY_MAX {
            bytes.extend_from_slice(&data);
        }
        if read > WASTE_MAX {
            break;
        }
    }
    if read <= BODY_MAX {
        return Ok(bytes);
    }
    let error = format!("the body is longer than {BODY_MAX} bytes");
    Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, error, "send a log level"))
}
