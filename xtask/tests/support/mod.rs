//! A small HTTP/1.1 server on 127.0.0.1 that misbehaves to order, and archives in MVTec's layout to serve.
#![allow(dead_code, reason = "not every test file needs all of it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use liblzma::write::XzEncoder;

/// What a client asked for; header names in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
}

impl Request {
    /// The first byte of an open range (`bytes=100-`), if one is asked for.
    pub(crate) fn range_start(&self) -> Option<usize> {
        self.headers
            .get("range")?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }
}

/// What to send, and where to stop.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Closes the connection after this many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Sends nothing more after the (cut) body, and keeps the connection open.
    pub(crate) hang: bool,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: vec![("content-length", "0".into())],
            ..Self::default()
        }
    }

    /// The whole file.
    pub(crate) fn whole(file: &[u8], etag: &str) -> Self {
        let headers = vec![("content-length", file.len().to_string()), ("etag", etag.to_owned())];
        Self {
            status: 200,
            headers,
            body: file.to_vec(),
            ..Self::default()
        }
    }

    /// The file as a good server sends it: the rest of it where a range of this version is asked for.
    pub(crate) fn file(request: &Request, file: &[u8], etag: &str) -> Self {
        let current = request.headers.get("if-range").is_none_or(|tag| tag == etag);
        match request.range_start() {
            Some(start) if current && start < file.len() => {
                let mut reply = Self::whole(&file[start..], etag);
                reply.status = 206;
                let range = format!("bytes {start}-{}/{}", file.len() - 1, file.len());
                reply.headers.push(("content-range", range));
                reply
            }
            Some(_) if current => Self::status(416),
            _ => Self::whole(file, etag),
        }
    }

    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    pub(crate) fn hang(mut self) -> Self {
        self.hang = true;
        self
    }
}

/// The server; it lives until the test's process ends.
pub(crate) struct Server {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Answers the i-th request, from 0, with `answer(i, request)`.
    pub(crate) fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read_request(&stream) else { continue };
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(request.clone());
                    log.len() - 1
                };
                let reply = answer(number, &request);
                // The client may have been killed or have seen enough: then the rest cannot be sent.
                let _ = send(&mut stream, &reply);
                if reply.hang {
                    hanging.push(stream);
                }
            }
        });
        Self { url, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.split_once(": ")
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        })
        .collect();
    Some(Request { path, headers })
}

fn send(stream: &mut TcpStream, reply: &Reply) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Status\r\nconnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    stream.flush()
}

/// A regular file's header, not yet finished with a checksum.
pub(crate) fn file_header(name: &str, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    // Not `set_path`, which refuses the hostile names that some tests need.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_size(size);
    header
}

/// A tar under construction.
pub(crate) struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    pub(crate) fn entry(mut self, mut header: tar::Header, data: &[u8]) -> Self {
        header.set_cksum();
        self.0.append(&header, data).unwrap();
        self
    }

    pub(crate) fn file(self, name: &str, data: &[u8]) -> Self {
        self.entry(file_header(name, data.len() as u64), data)
    }

    /// A category of the right number of files, each a few hundred bytes that do not compress.
    pub(crate) fn category(mut self, name: &str, [train, good, defective]: [usize; 3]) -> Self {
        let mut noise = Noise(0x9E37_79B9_7F4A_7C15);
        self = self.file(&format!("{name}/license.txt"), b"CC BY-NC-SA 4.0");
        for (folder, count) in [
            ("train/good", train),
            ("test/good", good),
            ("test/defective", defective),
            ("ground_truth/defective", defective),
        ] {
            for i in 0..count {
                let mask = if folder.starts_with("ground_truth") {
                    "_mask"
                } else {
                    ""
                };
                self = self.file(&format!("{name}/{folder}/{i:03}{mask}.png"), &noise.bytes(400));
            }
        }
        self
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }

    pub(crate) fn finish_xz(self) -> Vec<u8> {
        xz(&self.finish())
    }
}

pub(crate) fn xz(data: &[u8]) -> Vec<u8> {
    let mut encoder = XzEncoder::new(Vec::new(), 1);
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// xorshift64
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 56) as u8
        })
        .take(count)
        .collect()
    }
}
