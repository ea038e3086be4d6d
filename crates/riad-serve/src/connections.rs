//! How many connections there are at once, and how long one may take nothing.

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use axum_server::{Handle, accept::Accept};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// How often it is said that there are too many connections.
const TELL: Duration = Duration::from_secs(60);

/// How long a peer may take nothing of what waits for it: an answer lies in memory until it is taken, and a connection is one of few.
const PATIENCE: Duration = Duration::from_secs(30);

/// Accepts connections as `A` does, and closes those beyond `most` at once, and those whose peer takes nothing.
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
    type Stream = Taken<A::Stream>;
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
        let accepted = self.accept.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            Ok((Taken::new(stream, PATIENCE), service))
        })
    }
}

/// A stream that fails if its peer takes nothing for some time while something waits for it.
#[derive(Debug)]
pub(crate) struct Taken<S> {
    stream: S,
    patience: Duration,
    /// Runs while something waits.
    late: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self {
            stream,
            patience,
            late: None,
        }
    }
}

impl<S: Unpin> Taken<S> {
    fn within_patience<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let written = write(Pin::new(&mut self.stream), context);
        if written.is_ready() {
            self.late = None;
            return written;
        }
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        late.as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.within_patience(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.within_patience(context, |stream, context| stream.poll_write_vectored(context, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.within_patience(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.within_patience(context, |stream, context| stream.poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_fn;
    use tokio::io::duplex;

    use super::*;

    const FOREVER: Duration = Duration::from_secs(3600);

    async fn write(stream: &mut Taken<tokio::io::DuplexStream>, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|context| Pin::new(&mut *stream).poll_write(context, bytes)).await
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up() {
        let (ours, theirs) = duplex(8);
        let mut stream = Taken::new(ours, Duration::from_millis(1));
        assert_eq!(write(&mut stream, &[7; 9]).await.unwrap(), 8);
        let error = write(&mut stream, &[7; 9]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(theirs);
    }

    #[tokio::test]
    async fn who_takes_something_has_time_anew() {
        let (ours, mut theirs) = duplex(8);
        let mut stream = Taken::new(ours, FOREVER);
        assert_eq!(write(&mut stream, &[7; 8]).await.unwrap(), 8);
        poll_fn(|context| {
            assert!(Pin::new(&mut stream).poll_write(context, &[7]).is_pending());
            Poll::Ready(())
        })
        .await;
        assert!(stream.late.is_some());
        let mut taken = [0; 4];
        let mut into = ReadBuf::new(&mut taken);
        poll_fn(|context| Pin::new(&mut theirs).poll_read(context, &mut into))
            .await
            .unwrap();
        assert_eq!(write(&mut stream, &[7; 9]).await.unwrap(), 4);
        assert!(stream.late.is_none());
    }
}
