//! Request bodies that were not read before their response: the rest is read and dropped, so that the connection can be used
//! again.
//! Owns: how much is read, for how long, and when the connection is closed instead.
//! Must not know: routes.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode, header::EXPECT},
};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use parking_lot::Mutex;

use super::BODY_LIMIT;

/// How long the rest of a body may take to arrive.
const REST_TIMEOUT: Duration = Duration::from_secs(2);

/// What is left of the body of a connection's current request. (A connection has one request at a time.)
#[derive(Clone, Default)]
pub(super) struct Unread(Arc<Mutex<Rest>>);

#[derive(Default)]
enum Rest {
    /// Nothing: there was no body, it was read to its end, or its reader still has it.
    #[default]
    Nothing,
    /// What its reader dropped.
    Dropped(Tracked),
    /// It cannot be read, because it was malformed, too large or too slow.
    Lost,
}

struct Tracked {
    body: Incoming,
    read: u64,
    /// The client sends it only when it is asked to (RFC 9110 section 10.1.1), which the first read does.
    awaits_continue: bool,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Incomplete,
    Complete,
    Broken,
}

impl Unread {
    /// The request, with a body whose rest comes back here when it is dropped.
    pub(super) fn track(&self, request: Request<Incoming>) -> Request<Body> {
        if request.body().is_end_stream() {
            return request.map(|_| Body::empty());
        }
        let awaits_continue = request.headers().contains_key(EXPECT);
        request.map(|body| {
            let body = Tracked { body, read: 0, awaits_continue, state: State::Incomplete };
            Body::new(Reader { body: Some(body), unread: self.clone() })
        })
    }

    /// Before the response: reads what is left of the body, if it is not too much. False when the connection cannot be used for
    /// another request.
    pub(super) async fn finish(&self, status: StatusCode) -> bool {
        let rest = std::mem::take(&mut *self.0.lock());
        let is_finished = match rest {
            Rest::Nothing => return true,
            Rest::Lost => false,
            // RFC 9110 section 15.5.9: the server has decided to close the connection rather than wait longer.
            Rest::Dropped(_) if status == StatusCode::REQUEST_TIMEOUT => false,
            // Boxed: waiting requests should not carry the state of this.
            Rest::Dropped(body) => Box::pin(body.finish()).await,
        };
        if !is_finished {
            *self.0.lock() = Rest::Lost;
        }
        is_finished
    }

    /// True when the client may still be sending a body that nobody reads.
    pub(super) fn is_lost(&self) -> bool {
        matches!(*self.0.lock(), Rest::Lost)
    }
}

impl Tracked {
    async fn finish(mut self) -> bool {
        let limit = BODY_LIMIT as u64;
        if self.awaits_continue || self.read + self.body.size_hint().lower() > limit {
            return false;
        }
        let rest = async {
            // A connection that breaks meanwhile is closed by hyper.
            while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                self.read += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.read > limit {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(REST_TIMEOUT, rest).await.unwrap_or(false)
    }
}

/// A body, as its reader has it.
struct Reader {
    body: Option<Tracked>,
    unread: Unread,
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(tracked) = &mut self.body else { return Poll::Ready(None) };
        tracked.awaits_continue = false;
        let frame = ready!(Pin::new(&mut tracked.body).poll_frame(cx));
        match &frame {
            None => tracked.state = State::Complete,
            Some(Err(_)) => tracked.state = State::Broken,
            Some(Ok(frame)) => tracked.read += frame.data_ref().map_or(0, |data| data.len() as u64),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(|tracked| tracked.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), |tracked| tracked.body.size_hint())
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(tracked) = self.body.take() else { return };
        let rest = match tracked.state {
            State::Complete => return,
            State::Incomplete if tracked.body.is_end_stream() => return,
            State::Incomplete => Rest::Dropped(tracked),
            State::Broken => Rest::Lost,
        };
        *self.unread.0.lock() = rest;
    }
}
