//! How many connections there are at once.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum_server::{Handle, accept::Accept};

/// How often it is said that there are too many connections.
const TELL: Duration = Duration::from_secs(60);

/// Accepts connections as `A` does, and closes those beyond `most` at once.
#[derive(Clone, Debug)]
pub(crate) struct Bounded<A> {
    accept: A,
    handle: Handle<SocketAddr>,
    most: usize,
    /// When it was last said.
    told: Arc<Mutex<Option<Instant>>>,
}

impl<A> Bounded<A> {
    pub(crate) fn new(accept: A, handle: Handle<SocketAddr>, most: usize) -> Self {
        Self {
            accept,
            handle,
            most,
            told: Arc::default(),
        }
    }
}

impl<I, S, A: Accept<I, S>> Accept<I, S> for Bounded<A>
where
    A::Future: Send + 'static,
    A::Stream: 'static,
    A::Service: 'static,
{
    type Stream = A::Stream;
    type Service = A::Service;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        // This one counts already.
        if self.handle.connection_count() > self.most {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.is_none_or(|at| at.elapsed() >= TELL) {
                tracing::warn!("there are more than {} connections; those beyond are closed", self.most);
                *told = Some(Instant::now());
            }
            return Box::pin(async { Err(io::Error::other("there are too many connections")) });
        }
        Box::pin(self.accept.accept(stream, service))
    }
}
