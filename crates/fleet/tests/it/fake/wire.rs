//! HTTP/1.1 of a stand-in.

use std::{future::pending, io, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    FakeRequest, FakeState,
    fault::{Fault, SECRET},
    store::FakeAnswer,
};

/// Bytes after which an endless answer stops, so that a client without a limit fails the test.
pub(super) const ENDLESS: usize = 64 << 20;

type Stream = TlsStream<TcpStream>;

/// Serves one connection. Its end is no error.
pub(super) async fn serve(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<FakeState>) {
    if let Ok(mut stream) = acceptor.accept(stream).await {
        while matches!(exchange(&mut stream, &state).await, Ok(true)) {}
    }
}

/// Answers one request. Returns false if the connection has ended.
async fn exchange(stream: &mut Stream, state: &FakeState) -> io::Result<bool> {
    let Some((head, mut body)) = read_head(stream).await? else { return Ok(false) };
    let header = |name: &str| {
        let of_name = |line: &&str| line.to_ascii_lowercase().starts_with(name);
        head.lines().find(of_name).and_then(|line| line.split_once(": ")).map(|it| it.1.to_owned())
    };
    let length: usize = header("content-length").map_or(0, |it| it.parse().unwrap());
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Ok(false);
        }
    }
    let mut line = head.split(' ');
    let (method, target) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let token = header("authorization").unwrap_or_default();
    let token = token.trim_start_matches("Bearer ").to_owned();
    let request = FakeRequest { method: method.to_owned(), path: path.to_owned(), token };
    let fault = state.store().fault.clone().filter(|(prefix, _)| {
        path.starts_with(prefix) || format!("{method} {path}").starts_with(prefix)
    });
    if let Some((_, fault)) = fault {
        state.store().requests.push(request);
        return misbehave(stream, state, fault, query.contains("watch=true")).await;
    }
    let answer = state.store().answer(&request, query, &body);
    state.change();
    match answer {
        FakeAnswer::Json(code, value) => {
            let text = value.to_string();
            let head = format!(
                "HTTP/1.1 {code} Status\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                text.len(),
            );
            stream.write_all(format!("{head}{text}").as_bytes()).await?;
            Ok(true)
        }
        FakeAnswer::Watch => watch(stream, state, &request).await.map(|()| false),
        FakeAnswer::Never => pending().await,
    }
}

/// Sends the heartbeat after each change, until a fault or a refused token ends the watch.
async fn watch(stream: &mut Stream, state: &FakeState, request: &FakeRequest) -> io::Result<()> {
    let mut changes = state.changes.subscribe();
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    let mut last = String::new();
    loop {
        let found = state.store().heartbeat().filter(|it| it.0 != last);
        if let Some((version, object)) = found {
            last = version;
            let event = format!("{}\n", json!({ "type": "MODIFIED", "object": object }));
            send_chunk(stream, &event).await?;
        }
        if changes.changed().await.is_err() || !state.store().allows(request) {
            return Ok(());
        }
    }
}

async fn send_chunk(stream: &mut Stream, text: &str) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes()).await?;
    stream.flush().await
}

/// Returns the head of a request, and the bytes after it; `None` at the end of the connection.
async fn read_head(stream: &mut Stream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
            let body = bytes.split_off(end + 4);
            return Ok(Some((String::from_utf8_lossy(&bytes).into_owned(), body)));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// Answers a request by a fault. Returns true if the connection serves another request.
async fn misbehave(
    stream: &mut Stream,
    state: &FakeState,
    fault: Fault,
    is_watch: bool,
) -> io::Result<bool> {
    let whole = |code: u16, headers: &str, body: &str| {
        format!("HTTP/1.1 {code} Status\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    match fault {
        Fault::Silent => pending().await,
        Fault::SilentBody => {
            let half = format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{{\"{SECRET}\":");
            stream.write_all(half.as_bytes()).await?;
            stream.flush().await?;
            pending().await
        }
        Fault::Reset => Ok(false),
        Fault::Cut => {
            let half = format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{{\"{SECRET}\":");
            stream.write_all(half.as_bytes()).await?;
            stream.flush().await.map(|()| false)
        }
        Fault::Garbage => {
            let body = json!({ "metadata": SECRET, "items": SECRET }).to_string();
            stream.write_all(whole(200, "", &body).as_bytes()).await.map(|()| true)
        }
        Fault::NoHttp => {
            stream.write_all(format!("220 {SECRET}\r\n\r\n").as_bytes()).await.map(|()| false)
        }
        Fault::Endless => {
            stream.write_all(chunked.as_bytes()).await?;
            let text = format!("{{\"{SECRET}\":\"{}", "x".repeat(64 << 10));
            flood(stream, state, &text, true).await
        }
        Fault::EndlessHeaders => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            let text = format!("X-{SECRET}: {}\r\n", "x".repeat(1 << 10));
            flood(stream, state, &text, false).await
        }
        Fault::Large => {
            let mut object: Value = json!({ "metadata": { "uid": "1", "name": SECRET } });
            object["metadata"]["labels"]["long"] = "x".repeat(10 << 20).into();
            let text = whole(200, "", &object.to_string());
            flood(stream, state, &text, false).await
        }
        Fault::ManyEntries => {
            let parts = [r#""managedFields":["#, &"{},".repeat(4 << 10), "{}]"];
            send_object(stream, is_watch, parts, if is_watch { 3 << 20 } else { 900 << 10 }).await
        }
        Fault::LongVersion => {
            let parts = [r#""resourceVersion":""#, &"1".repeat(12 << 10), "\""];
            send_object(stream, is_watch, parts, 480 << 10).await
        }
        Fault::Status(code, headers) => {
            let body = json!({
                "kind": "Status", "message": SECRET, "reason": SECRET,
                "details": { "name": SECRET, "causes": [
                    { "message": SECRET, "field": SECRET },
                    {
                        "reason": "FieldManagerConflict",
                        "message": format!("conflict with \"see {SECRET}\""),
                        "field": format!(".metadata.{SECRET}"),
                    },
                ] },
            });
            let text = whole(code, &headers, &body.to_string());
            stream.write_all(text.as_bytes()).await.map(|()| true)
        }
    }
}

/// Sends an object whose metadata have the first and the last of `parts`, and between them `length`
/// bytes of the second one. It is the object of an event, or an object and a list at the same time.
async fn send_object(
    stream: &mut Stream,
    is_watch: bool,
    parts: [&str; 3],
    length: usize,
) -> io::Result<bool> {
    let [begin, again, end] = parts;
    let (head, tail) = if is_watch {
        (r#"{"type":"MODIFIED","object":{"metadata":{"#, "}}}\n")
    } else {
        (r#"{"items":[{"metadata":{}}],"metadata":{"#, "}}")
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
    send_chunk(stream, &format!("{head}{begin}")).await?;
    for _ in 0..length / again.len() {
        send_chunk(stream, again).await?;
    }
    send_chunk(stream, &format!("{end}{tail}")).await?;
    stream.write_all(b"0\r\n\r\n").await?;
    stream.flush().await.map(|()| true)
}

/// Sends `text` again and again, and counts its bytes, until the client closes the connection.
async fn flood(
    stream: &mut Stream,
    state: &FakeState,
    text: &str,
    is_chunked: bool,
) -> io::Result<bool> {
    while state.store().sent < ENDLESS {
        for part in text.as_bytes().chunks(16 << 10) {
            if is_chunked {
                stream.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await?;
            }
            stream.write_all(part).await?;
            if is_chunked {
                stream.write_all(b"\r\n").await?;
            }
            state.store().sent += part.len();
        }
    }
    Ok(false)
}
