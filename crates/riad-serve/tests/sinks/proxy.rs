//! A network between a service and its peer that fails when it is told to.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// Passes everything on, until it swallows what goes to the peer.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    swallows: Arc<AtomicBool>,
    swallowed: Arc<AtomicUsize>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// To a peer's port.
    pub(crate) fn start(peer: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            swallows: Arc::default(),
            swallowed: Arc::default(),
            open: Arc::default(),
        };
        let (swallows, swallowed, open) = (proxy.swallows.clone(), proxy.swallowed.clone(), proxy.open.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let Ok(peer) = TcpStream::connect(("127.0.0.1", peer)) else {
                    continue;
                };
                let copy = |stream: &TcpStream| stream.try_clone().unwrap();
                open.lock().unwrap().extend([copy(&stream), copy(&peer)]);
                let (back, forth) = ((copy(&peer), copy(&stream)), (stream, peer));
                let never = (Arc::new(AtomicBool::new(false)), Arc::default());
                let now = (swallows.clone(), swallowed.clone());
                thread::spawn(move || pass(back.0, back.1, &never));
                thread::spawn(move || pass(forth.0, forth.1, &now));
            }
        });
        proxy
    }

    /// Swallows what goes to the peer from now on.
    pub(crate) fn swallow(&self) {
        self.swallows.store(true, Ordering::SeqCst);
    }

    /// How many bytes it swallowed.
    pub(crate) fn swallowed(&self) -> usize {
        self.swallowed.load(Ordering::SeqCst)
    }

    /// Ends all connections, and passes everything on again.
    pub(crate) fn mend(&self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        self.swallows.store(false, Ordering::SeqCst);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, (swallows, swallowed): &(Arc<AtomicBool>, Arc<AtomicUsize>)) {
    let mut bytes = [0; 4096];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 {
            break;
        }
        if swallows.load(Ordering::SeqCst) {
            swallowed.fetch_add(count, Ordering::SeqCst);
        } else if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
